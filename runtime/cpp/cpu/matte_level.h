// From which matte on it is shadow (training/matte_level.py says why, and has the constants).
#pragma once

#include <array>
#include <cstddef>

namespace shadowdiffusion {

inline constexpr std::size_t LEVELS = 11;
// Means over cells of 1 and of the logarithm of red, green and blue light, everywhere, and within each level.
inline constexpr std::size_t LEVEL_PLANES = 4 + 4 * LEVELS;
inline constexpr double LEVEL_SIGMA = 1.5;
inline constexpr std::size_t LEVEL_RADIUS = 4;

// Adds a row at half the photo's size to `sums`, LEVEL_PLANES rows of it: `logits` of the matte, and the means of linear light.
// All are aligned to 64 bytes, width is a multiple of 16.
void add_level_row(const float* logits, const float* const* light, std::size_t width, float* sums);

// How little the border of a level set looks like a shadow's: 0 is perfect. `planes`: those of `count` cells, averaged; those of
// the level are used up.
double inconsistency(float* planes, std::size_t count, std::size_t level);

// The logit that the outline of the shadow has, by the inconsistencies of all levels.
double level_of(const std::array<double, LEVELS>& wrong);

inline constexpr float MOST_LOGIT = 12, LEAST_LOGIT = -5;  // of a matte before, and after it is moved to its threshold
inline constexpr double MATTE_THRESHOLD = 0.75;            // which becomes the outline

}  // namespace shadowdiffusion
