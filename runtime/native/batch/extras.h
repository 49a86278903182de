// The pictures that can be written beside a result. Twin of runtime/batch/extras.py.
#pragma once

#include <cstddef>
#include <span>

#include "photo/image.h"
#include "restorer.h"

namespace shadowdiffusion {

// Before and after side by side, one above the other where that would be too wide, in the photo's colours.
Photo comparison(const Photo& photo, const Pixels& restored);

// Shadow mask [height, width] in [0, 1] -> 8 bits, white = shadow.
Photo mask_picture(std::span<const float> mask, std::size_t height, std::size_t width);

// Illumination, photo / restored in linear light, [working, 3] -> 16 bits [whole, 3].
//
// 32768 + 4096 log2(illumination): middle grey is unchanged, 4096 less is a shadow one stop deep; eight stops either
// way fit.
Photo illumination_picture(std::span<const float> illumination, Size working, Size whole);

}  // namespace shadowdiffusion
