// The end of a degradation prior in double precision and in the plainest way, after training/degradation.py,
// training/border_calibration.py and training/matte_level.py.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "cpu/grid.h"

double linear_of(double encoded);
double encoded_of(double linear);
double logistic(double x);

// A grid of what of(pixel's values of each grid) gives for each value.
template <class Of, class... Grids>
Grid mapped(const Of& of, const Grid& first, const Grids&... others) {
    Grid made = first;
    for (std::size_t i = 0; i < made.values.size(); ++i) made.values[i] = of(first.values[i], others.values[i]...);
    return made;
}

// Means of squares of `side` pixels.
Grid pooled(const Grid& in, std::size_t side);

// Gaussian means, zeros beyond the grid.
Grid averaged(const Grid& in, double sigma, std::size_t radius);

// `times` the size, bilinearly.
Grid enlarged(const Grid& in, std::size_t times);

using Colours = std::array<double, 3>;

// What is compared along the border, by pixel: inside, outside, and of 3 colours inside * restored, outside * restored, inside *
// (restored - light). linear: light; shade: by what the shadow divides it, both of 3 channels; matte: in [0, 1].
Grid border_values(const Grid& linear, const Grid& shade, const Grid& matte);

// The change of the logarithms of the gains that averaged cells of them ask for.
Colours agreed_change(const Grid& near);

// What is compared at the border of each level, by pixel at half the photo's size: 1 and the logarithms of light, then each of
// these times what is inside of level 0, 1, ...
Grid level_values(const Grid& linear, const Grid& logits);

// Of averaged cells of them, by level.
std::vector<double> inconsistencies(const Grid& near);

double chosen_level(const std::vector<double>& wrong);

// What the network gives, before the logistic function; `veil`: empty for priors without. `matte`: as large as the photo.
struct Heads {
    Grid weight, veil, matte;
};

struct Limits {
    double least, most, thickest;
    std::span<const float> trust;  // empty: not calibrated
};

struct Restored {
    Grid clean, shadow;
};
Restored restore_naively(const Grid& image, const Heads& heads, const Limits& limits);
