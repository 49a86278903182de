#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cpu/grid.h"
#include "cpu/planes.h"

using namespace shadowdiffusion;

namespace {

std::vector<const float*> planes_of(const std::vector<std::vector<float>>& planes) {
    std::vector<const float*> made;
    for (const std::vector<float>& plane : planes) made.push_back(plane.data());
    return made;
}

}  // namespace

TEST_CASE("patches of planes become channels, one plane after the other, and what is left of the map zeros") {
    for (const std::size_t patch : {1u, 2u, 4u}) {
        const std::size_t height = 3, width = 5, count = patch == 4 ? 2 : 5;
        Numbers numbers(3);
        std::vector<std::vector<float>> planes;
        for (std::size_t i = 0; i < count; ++i) planes.push_back(numbers.some(height * patch * width * patch));
        const FloatMap map(height, width, 48);
        for (std::size_t y = 0; y < height; ++y) gather_row(planes_of(planes), patch, map.channels(), y);
        const Grid grid = map.grid();
        std::size_t wrong = 0;
        for (std::size_t y = 0; y < height; ++y)
            for (std::size_t x = 0; x < width; ++x)
                for (std::size_t c = 0; c < 48; ++c) {
                    const std::size_t plane = c / (patch * patch), i = c / patch % patch, j = c % patch;
                    const float right = plane < count ? planes[plane][(y * patch + i) * width * patch + x * patch + j] : 0;
                    wrong += grid.pixel(y, x)[c] != static_cast<double>(right);
                }
        CHECK(wrong == 0);

        // and back, only as many planes as are asked for
        std::vector<std::vector<float>> back(count - 1, std::vector<float>(planes[0].size()));
        std::vector<float*> to;
        for (std::vector<float>& plane : back) to.push_back(plane.data());
        for (std::size_t y = 0; y < height; ++y) scatter_row(map.channels(), patch, false, to, y);
        for (std::size_t i = 0; i < back.size(); ++i) CHECK(back[i] == planes[i]);
    }
}

TEST_CASE("outputs are squashed by the logistic function, huge ones too") {
    const FloatMap map(1, 4, 16);
    std::ranges::fill(map.values(), 0.0f);
    const float values[] = {-1e30f, 0, 1.5f, 1e30f};
    for (std::size_t x = 0; x < 4; ++x) map.channels().channel(0)[x * LANES] = values[x];
    std::vector<float> plane(4, std::numeric_limits<float>::quiet_NaN());
    float* const to[] = {plane.data()};
    scatter_row(map.channels(), 1, true, to, 0);
    CHECK(plane[0] == 0);
    CHECK(plane[1] == 0.5f);
    CHECK(static_cast<double>(plane[2]) == doctest::Approx(1 / (1 + std::exp(-1.5))));
    CHECK(plane[3] == 1);
}
