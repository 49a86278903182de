// Between the planes [channels, height, width] that a network takes and gives and the feature maps inside it.
#pragma once

#include <cstddef>
#include <span>

#include "cpu/convolution.h"

namespace shadowdiffusion {

// Row `y` of a map from `planes`, each [height * patch, width * patch] of its pixels: a pixel's channels are the patch of one
// plane after that of another, each row by row. Channels beyond them become zeros.
void gather_row(std::span<const float* const> planes, std::size_t patch, const Channels& to, std::size_t y);

// The other way round, for all of `planes`; `squashed`: through 1 / (1 + e^-x).
void scatter_row(const Channels& from, std::size_t patch, bool squashed, std::span<float* const> planes, std::size_t y);

}  // namespace shadowdiffusion
