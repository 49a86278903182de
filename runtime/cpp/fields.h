// Float images as views of memory, in the two orders that are used.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace shadowdiffusion {

// (height, width) in pixels.
using Size = std::pair<std::size_t, std::size_t>;

// [height, width, channels]: what photos and everything at full size is.
template <class T>
struct BasicField {
    std::span<T> values;
    std::size_t height = 0, width = 0, channels = 0;

    T* row(std::size_t y) const { return values.data() + y * width * channels; }
    std::size_t row_values() const { return width * channels; }
    operator BasicField<const T>() const { return {values, height, width, channels}; }
};
using Field = BasicField<float>;
using ConstField = BasicField<const float>;

// [channels, height, width]: what networks and the loop take, batch 1. Absent where there are no values.
template <class T>
struct BasicPlanes {
    std::span<T> values;
    std::size_t channels = 0, height = 0, width = 0;

    std::size_t area() const { return height * width; }
    std::span<T> plane(std::size_t channel) const { return values.subspan(channel * area(), area()); }
    Size size() const { return {height, width}; }
    bool absent() const { return values.empty(); }
    operator BasicPlanes<const T>() const { return {values, channels, height, width}; }
};
using Planes = BasicPlanes<float>;
using ConstPlanes = BasicPlanes<const float>;

}  // namespace shadowdiffusion
