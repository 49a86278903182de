// Photos made up, with shadows on them, for the end of a degradation prior.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cpu/naive_degradation.h"

// image: [height, width, 3] in [0, 1]. heads.weight, heads.veil: at 1 / `shrink` of its size.
struct Shadowed {
    std::string name;
    Grid image;
    Heads heads;
};

// A surface with a shadow over its middle, the same all black or white, one all shadow, one without any, and noise everywhere.
std::vector<Shadowed> shadowed_photos(std::size_t height, std::size_t width, std::size_t shrink);

// The planes [channels, height, width] of a grid, and the other way round.
std::vector<float> planes_of(const Grid& grid);
Grid grid_of(const std::vector<float>& planes, std::size_t channels, std::size_t height, std::size_t width);

// A map of so many channels, the first ones those of `grid` in patches of patch x patch pixels, the others NaN.
FloatMap map_of(const Grid& grid, std::size_t patch, std::size_t channels);
