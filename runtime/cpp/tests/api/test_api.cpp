#include <doctest/doctest.h>
#include <shadowdiffusion.h>

#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "api/opened.h"

namespace {

std::string error() { return shadowdiffusion_error(); }

}  // namespace

TEST_CASE("arguments that cannot be right are refused in words") {
    const Opened opened;
    std::vector<std::uint8_t> pixels = picture(20 * 30 * 3);
    shadowdiffusion_photo photo = photo_of(pixels, 20, 30);
    shadowdiffusion_result result{sizeof result, pixels.data(), nullptr, nullptr, nullptr};
    shadowdiffusion_options options;
    shadowdiffusion_options_init(&options);
    const auto restore = [&] { return shadowdiffusion_restore(opened.restorer, &photo, nullptr, &options, &result); };

    SUBCASE("step count") {
        options.steps = 7;
        CHECK(restore() == SHADOWDIFFUSION_FAILED);
        CHECK(error().starts_with("this bundle has no schedule for 7 steps: choose one of 1, 2, 3"));
        options.steps = -1;
        CHECK(restore() == SHADOWDIFFUSION_BAD_ARGUMENT);
    }
    SUBCASE("strength") {
        options.strength = std::numeric_limits<double>::quiet_NaN();
        CHECK(restore() == SHADOWDIFFUSION_FAILED);
        CHECK(error().find("out of range") != std::string::npos);
    }
    SUBCASE("native and a working size") {
        options.native_size = 1, options.working_size = 100;
        CHECK(restore() == SHADOWDIFFUSION_FAILED);
    }
    SUBCASE("bands") {
        photo.bands = 4;
        CHECK(restore() == SHADOWDIFFUSION_BAD_PHOTO);
    }
    SUBCASE("size") {
        photo.height = 0;
        CHECK(restore() == SHADOWDIFFUSION_BAD_PHOTO);
        photo.height = std::numeric_limits<std::size_t>::max() / 4;
        CHECK(restore() == SHADOWDIFFUSION_BAD_ARGUMENT);
    }
    SUBCASE("type and stride") {
        photo.type = 3;
        CHECK(restore() == SHADOWDIFFUSION_BAD_ARGUMENT);
        photo.type = SHADOWDIFFUSION_UINT8, photo.stride = 89;
        CHECK(restore() == SHADOWDIFFUSION_BAD_ARGUMENT);
    }
    SUBCASE("struct sizes") {
        options.size = 3;
        CHECK(restore() == SHADOWDIFFUSION_BAD_ARGUMENT);
        CHECK(error() == "the size of options is 3: begin with shadowdiffusion_options_init");
    }
    SUBCASE("masks") {
        std::vector<std::uint8_t> black(20 * 30 * 3, 0);
        shadowdiffusion_photo mask = photo_of(black, 20, 30);
        CHECK(shadowdiffusion_restore(opened.restorer, &photo, &mask, nullptr, &result) == SHADOWDIFFUSION_BAD_PHOTO);
        CHECK(error() == "mask is all black: there is nothing to restore (white marks shadow)");
        mask.width = 29;
        CHECK(shadowdiffusion_restore(opened.restorer, &photo, &mask, nullptr, &result) == SHADOWDIFFUSION_BAD_PHOTO);
        CHECK(error() == "mask is 29x20 pixels, the photo 30x20: they must be the same size");
    }
    SUBCASE("floats that are no numbers") {
        std::vector<float> floats(20 * 30 * 3, 0.5f);
        photo.pixels = floats.data(), photo.type = SHADOWDIFFUSION_FLOAT;
        result.image = floats.data();
        CHECK(restore() == SHADOWDIFFUSION_OK);
        floats[7] = std::numeric_limits<float>::quiet_NaN();
        CHECK(restore() == SHADOWDIFFUSION_BAD_PHOTO);
        floats[7] = 1.5f;
        CHECK(restore() == SHADOWDIFFUSION_BAD_PHOTO);
    }
}

TEST_CASE("a caller built against an older header, which knows fewer options, gets the defaults of the others") {
    const Opened opened;
    std::vector<std::uint8_t> pixels = picture(20 * 30 * 3), expected = pixels;
    const shadowdiffusion_photo photo = photo_of(pixels, 20, 30);
    shadowdiffusion_result result{sizeof result, expected.data(), nullptr, nullptr, nullptr};
    REQUIRE(shadowdiffusion_restore(opened.restorer, &photo, nullptr, nullptr, &result) == SHADOWDIFFUSION_OK);
    shadowdiffusion_options options;
    shadowdiffusion_options_defaults(&options, offsetof(shadowdiffusion_options, strength));
    options.strength = 5;  // not known to that caller: whatever memory holds
    std::vector<std::uint8_t> found(pixels.size());
    result.image = found.data();
    REQUIRE(shadowdiffusion_restore(opened.restorer, &photo, nullptr, &options, &result) == SHADOWDIFFUSION_OK);
    CHECK(found == expected);
}

TEST_CASE("rows with gaps are read and written without touching the gaps") {
    const Opened opened("exposure");
    const std::size_t height = 23, width = 31, row = width * 3, stride = row + 13;
    const std::vector<std::uint8_t> packed = picture(height * row);
    std::vector<std::uint8_t> spread(height * stride, 7), expected(packed.size());
    for (std::size_t y = 0; y < height; ++y) std::memcpy(&spread[y * stride], &packed[y * row], row);
    shadowdiffusion_photo photo = photo_of(packed, height, width);
    shadowdiffusion_result result{sizeof result, expected.data(), nullptr, nullptr, nullptr};
    REQUIRE(shadowdiffusion_restore(opened.restorer, &photo, nullptr, nullptr, &result) == SHADOWDIFFUSION_OK);
    photo.pixels = spread.data(), photo.stride = stride, result.image = spread.data();
    REQUIRE(shadowdiffusion_restore(opened.restorer, &photo, nullptr, nullptr, &result) == SHADOWDIFFUSION_OK);
    for (std::size_t y = 0; y < height; ++y) {
        CHECK(std::memcmp(&spread[y * stride], &expected[y * row], row) == 0);
        CHECK(spread[y * stride + row] == 7);
        CHECK(spread[y * stride + stride - 1] == 7);
    }
}

TEST_CASE("one restorer serves several threads, with the results of one") {
    const Opened opened;
    const std::vector<std::uint8_t> pixels = picture(40 * 56 * 3);
    const shadowdiffusion_photo photo = photo_of(pixels, 40, 56);
    std::vector<std::vector<std::uint8_t>> found(4, std::vector<std::uint8_t>(pixels.size()));
    std::vector<shadowdiffusion_status> states(4, SHADOWDIFFUSION_FAILED);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 4; ++i)
        threads.emplace_back([&, i] {
            shadowdiffusion_result result{sizeof result, found[i].data(), nullptr, nullptr, nullptr};
            for (int again = 0; again < 2; ++again)
                states[i] = shadowdiffusion_restore(opened.restorer, &photo, nullptr, nullptr, &result);
        });
    for (std::thread& thread : threads) thread.join();
    for (std::size_t i = 0; i < 4; ++i) {
        CHECK(states[i] == SHADOWDIFFUSION_OK);
        CHECK(found[i] == found[0]);
    }
    CHECK(found[0] != pixels);
}

TEST_CASE("built-in bundles reproduce their golden examples") {
    for (const char* task : {"shadow", "low-light", "exposure"}) {
        const Opened opened(task);
        double psnr = 0;
        CHECK(shadowdiffusion_check(opened.restorer, &psnr) == SHADOWDIFFUSION_OK);
        CHECK(psnr > 100);
    }
}

TEST_CASE("settings that cannot be had are refused in words") {
    shadowdiffusion_restorer* restorer = nullptr;
    shadowdiffusion_settings settings;
    shadowdiffusion_settings_init(&settings);
    settings.task = "fog";
    CHECK(shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_BAD_BUNDLE);
    CHECK(error() == "there is no built-in bundle for fog (there is: exposure, low-light, shadow): name your own with "
                     "--bundle BUNDLE");
    settings.task = nullptr, settings.backend = "abacus";
    CHECK(shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_FAILED);
    CHECK(error().starts_with("backend 'abacus' is unknown here: choose one of auto"));
    settings.backend = nullptr, settings.threads = -2;
    CHECK(shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_BAD_ARGUMENT);
    CHECK(restorer == nullptr);
}
