// Feature maps and planes in double precision, and how far float ones are from them.
#pragma once

#include <cstddef>
#include <random>
#include <span>
#include <vector>

#include "cpu/convolution.h"

// [height, width, channels].
struct Grid {
    Grid() = default;
    Grid(std::size_t rows, std::size_t columns, std::size_t count)
        : height(rows), width(columns), channels(count), values(rows * columns * count) {}
    double* pixel(std::size_t y, std::size_t x) { return values.data() + (y * width + x) * channels; }
    const double* pixel(std::size_t y, std::size_t x) const { return values.data() + (y * width + x) * channels; }
    std::size_t height = 0, width = 0, channels = 0;
    std::vector<double> values;
};

// A feature map as the kernels have it, with memory of its own that begins as NaN: what is not written shows.
class FloatMap {
  public:
    FloatMap(std::size_t height, std::size_t width, std::size_t channels);
    const shadowdiffusion::Channels& channels() const { return channels_; }
    std::span<float> values() const { return {memory_.data(), channels_.area() * channels_.channels}; }
    Grid grid() const;

  private:
    shadowdiffusion::Values memory_;
    shadowdiffusion::Channels channels_;
};

// Floats of a normal distribution, the same ones every time.
class Numbers {
  public:
    explicit Numbers(unsigned seed) : engine_(seed) {}
    void fill(std::span<float> values, float mean = 0, float deviation = 1);
    std::vector<float> some(std::size_t count, float mean = 0, float deviation = 1);

  private:
    std::mt19937 engine_;
};

// Memory for kernels: aligned, and no longer than it says.
std::span<const float> aligned(const std::vector<float>& values, shadowdiffusion::Values& memory);

// The norm of the difference over that of `right`; NaN where anything is no number.
double relative_l2(std::span<const double> values, std::span<const double> right);
