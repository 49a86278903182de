#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "loop/noise.h"
#include "loop/philox.h"

using namespace shadowdiffusion;

TEST_CASE("Philox4x32-10 gives the known answers of Random123") {
    CHECK(philox({0, 0, 0, 0}, 0, 0) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    const std::uint32_t ones = 0xffffffff;
    CHECK(philox({ones, ones, ones, ones}, ones, ones) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
          Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("the vectorised words are those of the plain form, bit for bit") {
    const std::uint64_t seed = 0x123456789abcdef0;
    for (const std::size_t width : {1u, 5u, 16u, 61u}) {
        std::vector<std::uint32_t> r0(width), r1(width), r2(width), r3(width);
        philox_row(77, 3, seed, r0, r1, r2, r3);
        for (std::size_t x = 0; x < width; ++x) {
            const Words expected = philox({static_cast<std::uint32_t>(x), 77, 3, 0}, 0x9abcdef0, 0x12345678);
            CHECK(Words{r0[x], r1[x], r2[x], r3[x]} == expected);
        }
    }
}

TEST_CASE("the deviates are those of Box and Muller to the last digits") {
    Workers workers(2);
    const std::size_t height = 19, width = 35;
    std::vector<float> values(3 * height * width);
    gaussian({values, 3, height, width}, 42, 5, workers);
    const auto uniform = [](std::uint32_t word) { return (static_cast<double>(word >> 8) + 0.5) * 0x1p-24; };
    double most = 0;
    for (std::size_t y = 0; y < height; ++y)
        for (std::size_t x = 0; x < width; ++x) {
            const Words r = philox({static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), 5, 0}, 42, 0);
            const auto radius = [&](std::uint32_t word) { return std::sqrt(-2 * std::log(uniform(word))); };
            const auto angle = [&](std::uint32_t word) { return 2 * std::numbers::pi * uniform(word); };
            const double expected[] = {radius(r[0]) * std::cos(angle(r[1])), radius(r[0]) * std::sin(angle(r[1])),
                                       radius(r[2]) * std::cos(angle(r[3]))};
            for (std::size_t c = 0; c < 3; ++c)
                most = std::max(most, std::abs(expected[c] - static_cast<double>(values[(c * height + y) * width + x])));
        }
    CHECK(most < 4e-6);  // angles in float32 are off by half a unit of 4.8e-7, times a radius below 6
}
