// Planes of a photo's cells, squares of 4x4 pixels, in which a prior compares light near the borders of shadows.
#pragma once

#include <cstddef>

namespace shadowdiffusion {

inline constexpr std::size_t CELL = 4;

// to[i] = factor * (from[side * i] + ... + from[side * i + side - 1]) for i < count.
void pool(const float* from, std::size_t side, float factor, std::size_t count, float* to);

// A Gaussian of so many cells to each side, whose taps add up to 1.
inline constexpr std::size_t MOST_RADIUS = 9;
struct Window {
    Window(double sigma, std::size_t reach);
    std::size_t size() const { return 2 * radius + 1; }
    std::size_t radius;
    float taps[2 * MOST_RADIUS + 1];
};

// Means over the window around each cell of a plane [height, width], zeros beyond it, in place. `scratch`: window_scratch floats.
std::size_t window_scratch(std::size_t height, std::size_t width);
void average(float* plane, std::size_t height, std::size_t width, const Window& window, float* scratch);

}  // namespace shadowdiffusion
