// What a degradation prior sees of a photo: encoded light, its logarithm, and the mask, all of them around zero.
#pragma once

#include <cstddef>
#include <span>

#include "cpu/convolution.h"

namespace shadowdiffusion {

// Floats of memory that a row needs.
std::size_t light_scratch(std::size_t patch, const Channels& to);

// Row `y` of a map from the planes of a photo, red, green and blue in [0, 1] as sRGB encodes them, and of its mask: patches as
// channels, as `gather_row` makes them of image - 0.5, log(linear light + 0.01) / 4.6 + 0.5 and mask - 0.5.
void light_row(std::span<const float* const, 3> image, const float* mask, std::size_t patch, const Channels& to, std::size_t y,
               float* scratch);

}  // namespace shadowdiffusion
