// The level at which a matte looks most like a shadow against the same in double precision.
#include <doctest/doctest.h>

#include <cmath>

#include "cpu/matte_level.h"
#include "cpu/photos.h"

using namespace shadowdiffusion;

namespace {

std::array<double, LEVELS> wrong_of(const Grid& near) {
    std::vector<float> planes = planes_of(near);
    std::array<double, LEVELS> made;
    for (std::size_t i = 0; i < LEVELS; ++i) made[i] = inconsistency(planes.data(), near.height * near.width, i);
    return made;
}

void check(const Grid& near) {
    const std::array<double, LEVELS> made = wrong_of(near);
    const std::vector<double> right = inconsistencies(near);
    for (std::size_t i = 0; i < LEVELS; ++i) {
        CAPTURE(i);
        CHECK(made[i] == doctest::Approx(right[i]).epsilon(1e-4));
    }
    CHECK(level_of(made) == doctest::Approx(chosen_level(right)).epsilon(1e-3));
}

Grid near_levels(const Grid& linear, const Grid& logits) {
    return averaged(pooled(level_values(linear, logits), 2), LEVEL_SIGMA, LEVEL_RADIUS);
}

}  // namespace

TEST_CASE("rows of pixels are added to what is compared at all levels") {
    constexpr std::size_t WIDTH = 48;
    Numbers numbers(16);
    Values logits, light;
    aligned(numbers.some(WIDTH, 1, 2), logits);
    std::vector<float> values = numbers.some(3 * WIDTH, 0.3f, 0.2f);
    for (float& value : values) value = std::max(value, 0.0f);
    aligned(values, light);
    // of pixels that are alike, the means at half the size are those pixels
    Grid large(2, 2 * WIDTH, 3), matte(2, 2 * WIDTH, 1);
    for (std::size_t y = 0; y < 2; ++y)
        for (std::size_t x = 0; x < 2 * WIDTH; ++x) {
            matte.pixel(y, x)[0] = static_cast<double>(logits.data()[x / 2]);
            for (std::size_t c = 0; c < 3; ++c) large.pixel(y, x)[c] = static_cast<double>(light.data()[c * WIDTH + x / 2]);
        }
    const Grid right = level_values(large, matte);
    const float* const lights[] = {light.data(), light.data() + WIDTH, light.data() + 2 * WIDTH};
    Values sums(LEVEL_PLANES * WIDTH);
    std::fill_n(sums.data(), sums.count(), 1.0f);
    for (int i = 0; i < 2; ++i) add_level_row(logits.data(), lights, WIDTH, sums.data());
    const Grid made = grid_of({sums.data(), sums.data() + sums.count()}, LEVEL_PLANES, 1, WIDTH);
    CHECK(relative_l2(made.values, mapped([](double value) { return 1 + 2 * value; }, right).values) < 1e-6);
}

TEST_CASE("levels of photos are as inconsistent as in double precision") {
    for (const Shadowed& photo : shadowed_photos(64, 96, 8)) {
        CAPTURE(photo.name);
        check(near_levels(mapped(linear_of, photo.image), photo.heads.matte));
    }
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{4, 4}, {16, 4}, {16, 16}}) {
        const Shadowed photo = shadowed_photos(height, width, 4).front();
        check(near_levels(mapped(linear_of, photo.image), photo.heads.matte));
    }
}

TEST_CASE("a sharp shadow is found at any level within it, and nowhere where there is none") {
    Grid linear(64, 64, 3), logits(64, 64, 1);
    for (std::size_t y = 0; y < 64; ++y)
        for (std::size_t x = 0; x < 64; ++x) {
            const bool inside = x < 32;
            logits.pixel(y, x)[0] = inside ? 1.5 : -1.5;
            for (std::size_t c = 0; c < 3; ++c) linear.pixel(y, x)[c] = inside ? 0.1 : 0.5;
        }
    const std::array<double, LEVELS> found = wrong_of(near_levels(linear, logits));
    for (std::size_t i = 0; i < LEVELS; ++i) {
        CAPTURE(i);
        const double level = -0.8 + 0.4 * static_cast<double>(i);
        if (level < 1.4)
            CHECK(found[i] < 0.1);
        else if (level > 1.6)
            CHECK(found[i] == doctest::Approx(2.8));  // no border at all
    }
    CHECK(level_of(found) < 1.5);
    const auto nowhere = [&](double logit) {
        const std::array<double, LEVELS> wrong = wrong_of(near_levels(linear, mapped([=](double) { return logit; }, logits)));
        for (const double value : wrong) CHECK(value == doctest::Approx(2.8));
        CHECK(level_of(wrong) == doctest::Approx(14));
    };
    nowhere(9), nowhere(-9);
}

TEST_CASE("the level is that of the least inconsistent, and shared where several are alike") {
    std::array<double, LEVELS> wrong;
    wrong.fill(2);
    CHECK(level_of(wrong) == doctest::Approx(14));
    wrong[3] = 0.2;
    CHECK(level_of(wrong) == doctest::Approx(0.4));
    wrong[4] = 0.2;
    CHECK(level_of(wrong) == doctest::Approx(0.6));
    wrong.fill(1e6);
    CHECK(level_of(wrong) == doctest::Approx(14));
}
