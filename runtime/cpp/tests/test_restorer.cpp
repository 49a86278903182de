#include <doctest/doctest.h>

#include "bundle/bundle.h"
#include "errors.h"
#include "fake_networks.h"

using namespace shadowdiffusion;

namespace {

Pixels picture(std::size_t height, std::size_t width, std::size_t bands, PixelType type = PixelType::uint8) {
    Pixels pixels;
    pixels.shape(type, height, width, bands);
    const MutableImageView view = pixels.view();
    for (std::size_t y = 0; y < height; ++y)
        for (std::size_t i = 0; i < width * bands; ++i) {
            const std::size_t value = (y * 31 + i * 17) % 256;
            if (type == PixelType::uint8) view.row<std::uint8_t>(y)[i] = static_cast<std::uint8_t>(value);
            if (type == PixelType::uint16) view.row<std::uint16_t>(y)[i] = static_cast<std::uint16_t>(value * 257);
            if (type == PixelType::float32) view.row<float>(y)[i] = static_cast<float>(value) / 255;
        }
    return pixels;
}

}  // namespace

TEST_CASE("photos of any size and type come back with theirs") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    for (const PixelType type : {PixelType::uint8, PixelType::uint16, PixelType::float32})
        for (const auto& [height, width] : {Size{1, 1}, Size{1, 700}, Size{3, 2}, Size{17, 33}, Size{801, 1003}})
            for (const std::size_t bands : {1u, 3u}) {
                const Pixels photo = picture(height, width, bands, type);
                const Restored found = restorer->restore(photo.view());
                CHECK(found.image.bytes.size() == photo.bytes.size());
                CHECK(found.mask.size() == height * width);
                CHECK(found.prior.bytes.empty());
            }
}

TEST_CASE("the same photo in 8 and 16 bits and floats gives the same light") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    const Restored bytes = restorer->restore(picture(450, 333, 3).view());
    const Restored shorts = restorer->restore(picture(450, 333, 3, PixelType::uint16).view());
    const Restored floats = restorer->restore(picture(450, 333, 3, PixelType::float32).view());
    double most = 0;
    for (std::size_t y = 0; y < 450; ++y)
        for (std::size_t i = 0; i < 333 * 3; ++i) {
            const double exact = static_cast<double>(floats.image.view().row<float>(y)[i]);
            most = std::max(most, std::abs(bytes.image.view().row<std::uint8_t>(y)[i] / 255.0 - exact));
            most = std::max(most, std::abs(shorts.image.view().row<std::uint16_t>(y)[i] / 65535.0 - exact));
        }
    CHECK(most < 0.51 / 255);
}

TEST_CASE("strength 0 leaves every bit of the photo") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/low-light"));
    const Pixels photo = picture(120, 90, 3, PixelType::uint16);
    Options options;
    options.strength = 0;
    CHECK(restorer->restore(photo.view(), nullptr, options).image.bytes == photo.bytes);
}

TEST_CASE("results do not depend on the number of threads") {
    const Pixels photo = picture(700, 1100, 3);
    const Restored one = fake_restorer(load_folder(BUNDLES "/shadow"), 1)->restore(photo.view());
    const Restored four = fake_restorer(load_folder(BUNDLES "/shadow"), 4)->restore(photo.view());
    CHECK(one.image.bytes == four.image.bytes);
    CHECK(one.mask == four.mask);
    CHECK(one.illumination == four.illumination);
}

TEST_CASE("the callback sees every step and ends the photo at once") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    const Pixels photo = picture(50, 60, 3);
    Options options;
    options.steps = 5;
    int calls = 0;
    options.progress = [&](int done, int steps) {
        CHECK(steps == 5);
        CHECK(done == ++calls);
        return done < 3;
    };
    CHECK_THROWS_AS(restorer->restore(photo.view(), nullptr, options), Cancelled);
    CHECK(calls == 3);
}

TEST_CASE("half-way lengths are rounded to even ones, and nothing is enlarged") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    Options options;
    options.working_size = 100;
    CHECK(restorer->working_size({200, 101}, options) == Size{100, 50});
    CHECK(restorer->working_size({200, 103}, options) == Size{100, 52});
    CHECK(restorer->working_size({1, 5000}, options) == Size{1, 100});
    CHECK(restorer->working_size({80, 90}, options) == Size{80, 90});
    options.working_size = 0;
    CHECK_THROWS_AS(static_cast<void>(restorer->working_size({80, 90}, options)), RestoreError);
}
