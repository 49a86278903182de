// Means over windows of cells against plain ones in double precision.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cpu/cells.h"
#include "cpu/grid.h"
#include "cpu/naive_degradation.h"
#include "text.h"

using namespace shadowdiffusion;

TEST_CASE("pooled values are sums of their neighbours") {
    const float from[] = {1, 2, 3, 4, 5, 6, 7, 8};
    float to[4] = {0, 0, 0, -1};
    pool(from, 2, 0.5f, 3, to);
    CHECK(std::vector<float>(to, to + 4) == std::vector<float>{1.5f, 3.5f, 5.5f, -1});
    pool(from, 4, 1, 2, to);
    CHECK(std::vector<float>(to, to + 2) == std::vector<float>{10, 26});
    pool(from, 1, 2, 1, to);
    CHECK(to[0] == 2);
}

TEST_CASE("windows add up to one, and are the same on both sides") {
    for (const Window& window : {Window(3, 9), Window(1.5, 4), Window(0.5, 0)}) {
        double sum = 0;
        for (std::size_t i = 0; i < window.size(); ++i) {
            sum += static_cast<double>(window.taps[i]);
            CHECK(window.taps[i] == window.taps[window.size() - 1 - i]);
        }
        CHECK(sum == doctest::Approx(1).epsilon(1e-6));
    }
}

TEST_CASE("means over windows are right for planes of any size, those smaller than the window too") {
    const std::size_t sizes[][2] = {{1, 1}, {1, 40}, {40, 1}, {3, 5}, {4, 4}, {9, 10}, {19, 23}, {24, 32}};
    for (const auto& [height, width] : sizes)
        for (const auto& [sigma, radius] : {std::pair<double, std::size_t>{3, 9}, {1.5, 4}, {1, 1}}) {
            CAPTURE(text(height, "x", width, " cells, radius ", radius));
            const std::vector<float> values = Numbers(13).some(height * width, 0.5f);
            Grid plane(height, width, 1);
            plane.values.assign(values.begin(), values.end());
            const Grid right = averaged(plane, sigma, radius);
            std::vector<float> made = values, scratch(window_scratch(height, width), std::numeric_limits<float>::quiet_NaN());
            average(made.data(), height, width, Window(sigma, radius), scratch.data());
            CHECK(relative_l2(std::vector<double>(made.begin(), made.end()), right.values) < 1e-6);
        }
}
