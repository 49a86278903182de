// Calibration of a shadow's gain by what its border shows (training/border_calibration.py says why, and has the constants).
#pragma once

#include <array>
#include <cstddef>

namespace shadowdiffusion {

// By cell: how much of it is inside and outside of the shadow, and, of red, green and blue each, the logarithms of restored light
// inside, and outside, and of the gain inside.
inline constexpr std::size_t BORDER_PLANES = 11;
inline constexpr double BORDER_SIGMA = 3;
inline constexpr std::size_t BORDER_RADIUS = 9;

// Adds a row of pixels to `sums`, BORDER_PLANES rows of them. `matte`: in [0, 1]; light[c]: linear light, of what h changes;
// shade[c]: h. All are aligned to 64 bytes, width is a multiple of 16.
void add_border_row(const float* matte, const float* const* light, const float* const* shade, std::size_t width, float* sums);

// The change of the logarithms of the gains, relative to them, that the border asks for. `planes`: those of `count` cells,
// averaged; they are used up.
std::array<double, 3> border_change(float* planes, std::size_t count);

}  // namespace shadowdiffusion
