#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "full_size/brightening.h"
#include "full_size/illumination.h"
#include "full_size/resizing.h"

using namespace shadowdiffusion;

namespace {

double linear(double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); }

}  // namespace

TEST_CASE("the sRGB curve and its inverse are right at every value of 16 bits") {
    std::vector<float> encoded(65536), light(encoded.size()), back(encoded.size());
    for (std::size_t i = 0; i < encoded.size(); ++i) encoded[i] = static_cast<float>(i) / 65535;
    to_linear(encoded, light);
    to_encoded(light, back);
    double most = 0, there = 0;
    for (std::size_t i = 0; i < encoded.size(); ++i) {
        const double exact = linear(static_cast<double>(encoded[i]));
        most = std::max(most, std::abs(static_cast<double>(light[i]) - exact) / (exact + 1e-6));
        there = std::max(there, std::abs(static_cast<double>(back[i]) - static_cast<double>(encoded[i])));
    }
    CHECK(most < 2e-6);
    CHECK(there < 2e-6);
}

TEST_CASE("a constant stays what it is under any reduction and enlargement") {
    Workers workers(2);
    for (const auto& [height, width] : {Size{1, 1}, Size{1, 20000}, Size{7, 5}, Size{333, 1000}, Size{64, 64}})
        for (const std::size_t side : {1u, 10u, 37u, 64u, 999u}) {
            Arena arena;
            Pixels photo;
            photo.shape(PixelType::uint8, height, width, 3);
            std::ranges::fill(photo.bytes, std::byte{51});
            const auto [h, w] = reduced_size({height, width}, side);
            std::vector<float> small(h * w * 3), large(height * width * 3);
            reduced(photo.view(), {small, h, w, 3}, arena, workers);
            for (const float v : small) CHECK(v == doctest::Approx(0.2).epsilon(1e-6));
            enlarged(ConstField{small, h, w, 3}, {large, height, width, 3}, arena, workers);
            for (const float v : large) REQUIRE(v == doctest::Approx(0.2).epsilon(1e-6));
        }
}

TEST_CASE("a ramp stays a ramp away from its ends: positions are aligned") {
    Workers workers(1);
    Arena arena;
    const std::size_t width = 1000, target = 130;
    std::vector<float> ramp(width), small(target), large(width);
    std::iota(ramp.begin(), ramp.end(), 0.5f);
    reduced_to(ConstField{ramp, 1, width, 1}, {small, 1, target, 1}, arena, workers);
    for (std::size_t i = 5; i + 5 < target; ++i) {
        const double expected = (static_cast<double>(i) + 0.5) * 1000 / 130;
        CHECK(std::abs(static_cast<double>(small[i]) - expected) < 0.1);  // libvips has 64 phases
    }
    enlarged(ConstField{small, 1, target, 1}, {large, 1, width, 1}, arena, workers);
    for (std::size_t i = 60; i + 60 < width; ++i) CHECK(std::abs(large[i] - ramp[i]) < 0.1f);
}

TEST_CASE("a gain brightens linear light by its factor, in place too") {
    Workers workers(2);
    Arena arena;
    Pixels photo, result;
    photo.shape(PixelType::float32, 40, 61, 1);
    result.shape(PixelType::float32, 40, 61, 1);
    for (std::size_t y = 0; y < 40; ++y)
        for (std::size_t x = 0; x < 61; ++x) photo.view().row<float>(y)[x] = static_cast<float>(y * 61 + x) / 5000;
    const float gain = std::log(1.7f);
    const std::vector<float> small(20 * 30, 0.3f), gains(20 * 30, gain);
    const auto run = [&](const ImageView& from, const MutableImageView& to) {
        brighten(from, {small, 20, 30, 1}, {gains, 20, 30, 1}, 1, to, arena, workers);
    };
    run(photo.view(), result.view());
    for (std::size_t y = 0; y < 40; ++y)
        for (std::size_t x = 0; x < 61; ++x) {
            const double before = linear(static_cast<double>(photo.view().row<float>(y)[x])) + 1e-4;
            const double after = linear(static_cast<double>(result.view().row<float>(y)[x])) + 1e-4;
            CHECK(after == doctest::Approx(before * 1.7).epsilon(1e-5));
        }
    run(photo.view(), photo.view());
    CHECK(photo.bytes == result.bytes);
}
