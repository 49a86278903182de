// What the border of a shadow asks for against the same in double precision.
#include <doctest/doctest.h>

#include <algorithm>

#include "cpu/border_calibration.h"
#include "cpu/photos.h"

using namespace shadowdiffusion;

namespace {

// By the planes of averaged cells.
Colours change_of(const Grid& near) {
    std::vector<float> planes = planes_of(near);
    return border_change(planes.data(), near.height * near.width);
}

void check(const Grid& near) {
    const Colours made = change_of(near), right = agreed_change(near);
    for (std::size_t c = 0; c < 3; ++c) CHECK(made[c] == doctest::Approx(right[c]).epsilon(1e-5));
}

// Cells of which so many are inside and outside, and whose light outside is so much more, [rows, 8].
Grid cells(std::size_t rows, double inside, double outside, double step) {
    Grid made(rows, 8, BORDER_PLANES);
    for (std::size_t i = 0; i < rows * 8; ++i) {
        double* of = made.values.data() + i * BORDER_PLANES;
        of[0] = inside, of[1] = outside;
        for (std::size_t c = 0; c < 3; ++c) of[2 + c] = -inside, of[5 + c] = (step - 1) * outside, of[8 + c] = inside;
    }
    return made;
}

}  // namespace

TEST_CASE("rows of pixels are added to what is compared along a border") {
    constexpr std::size_t WIDTH = 48;
    Numbers numbers(15);
    Values matte, light, shade;
    const auto fill = [&](std::size_t count, float mean, float deviation, Values& to) {
        std::vector<float> values = numbers.some(count, mean, deviation);
        for (float& value : values) value = std::clamp(value, 0.0f, 1.0f);
        aligned(values, to);
    };
    fill(WIDTH, 0.5f, 0.5f, matte), fill(3 * WIDTH, 0.3f, 0.3f, light), fill(3 * WIDTH, 0.6f, 0.1f, shade);
    const auto grid = [](const Values& of, std::size_t channels) {
        return grid_of({of.data(), of.data() + channels * WIDTH}, channels, 1, WIDTH);
    };
    const Grid right = border_values(grid(light, 3), grid(shade, 3), grid(matte, 1));
    const float* const lights[] = {light.data(), light.data() + WIDTH, light.data() + 2 * WIDTH};
    const float* const shades[] = {shade.data(), shade.data() + WIDTH, shade.data() + 2 * WIDTH};
    Values sums(BORDER_PLANES * WIDTH);
    std::fill_n(sums.data(), sums.count(), 1.0f);
    for (int i = 0; i < 2; ++i) add_border_row(matte.data(), lights, shades, WIDTH, sums.data());
    const Grid made = grid(sums, BORDER_PLANES), twice = mapped([](double value) { return 1 + 2 * value; }, right);
    CHECK(relative_l2(made.values, twice.values) < 1e-6);
}

TEST_CASE("cells agree on a change, which lone ones do not move") {
    Grid some = cells(6, 0.4, 0.3, 0.2);
    check(some);
    const Colours before = change_of(some);
    CHECK(before[0] == doctest::Approx(0.2 * 13.44 / 23.44));  // 48 cells of 0.28: less of it where there is little border
    for (std::size_t c = 0; c < 3; ++c) some.pixel(2, 3)[5 + c] = 5;  // far beyond the largest vote
    check(some);
    CHECK(change_of(some)[0] == doctest::Approx(before[0]).epsilon(0.02));
    for (const double step : {-3.0, -0.5, 0.0, 0.7}) check(cells(3, 0.5, 0.1, step));
}

TEST_CASE("where there is no border, nothing changes") {
    for (const auto& [inside, outside] : {std::pair(0.0, 0.0), {1.0, 0.0}, {0.0, 1.0}, {0.02, 0.5}, {0.0005, 0.9}}) {
        check(cells(2, inside, outside, 0.3));
        for (const double change : change_of(cells(2, inside, outside, 0.3))) CHECK(change == 0);
    }
}

TEST_CASE("one cell alone is asked, too") {
    Grid one(1, 1, BORDER_PLANES);
    one.values = {0.3, 0.4, -0.9, -0.6, -0.3, -0.5, -0.7, -0.9, 0.3, 0.01, -0.2};
    check(one);
}

TEST_CASE("borders of photos ask for the same as in double precision") {
    for (const Shadowed& photo : shadowed_photos(64, 96, 8)) {
        CAPTURE(photo.name);
        const Grid matte = mapped(logistic, photo.heads.matte);
        Grid shade = photo.image;
        for (std::size_t i = 0; i < shade.values.size(); ++i) shade.values[i] = 1 - 0.7 * matte.values[i / 3];
        check(averaged(pooled(border_values(mapped(linear_of, photo.image), shade, matte), 4), BORDER_SIGMA, BORDER_RADIUS));
    }
}
