#include "cpu/cells.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/cells.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// to[i] = taps[0] from[0][i] + ... for i < count.
void combine(const float* const* from, const float* taps, std::size_t rows, std::size_t count, float* to) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) {
        Vector sum = hn::Zero(d);
        for (std::size_t row = 0; row < rows; ++row) sum = hn::MulAdd(hn::LoadU(d, from[row] + i), hn::Set(d, taps[row]), sum);
        hn::StoreU(sum, d, to + i);
    }
    for (; i < count; ++i) {
        to[i] = 0;
        for (std::size_t row = 0; row < rows; ++row) to[i] += from[row][i] * taps[row];
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(combine);

void pool(const float* from, std::size_t side, float factor, std::size_t count, float* to) {
    for (std::size_t i = 0; i < count; ++i) {
        float sum = 0;
        for (std::size_t j = 0; j < side; ++j) sum += from[side * i + j];
        to[i] = sum * factor;
    }
}

Window::Window(double sigma, std::size_t reach) : radius(reach) {
    double sum = 0;
    const auto at = [&](std::size_t i) {
        const double distance = static_cast<double>(i) - static_cast<double>(radius);
        return std::exp(-0.5 * distance * distance / (sigma * sigma));
    };
    for (std::size_t i = 0; i < size(); ++i) sum += at(i);
    for (std::size_t i = 0; i < size(); ++i) taps[i] = static_cast<float>(at(i) / sum);
}

std::size_t window_scratch(std::size_t height, std::size_t width) { return height * (width + 2 * MOST_RADIUS); }

void average(float* plane, std::size_t height, std::size_t width, const Window& window, float* scratch) {
    const float* from[2 * MOST_RADIUS + 1];
    const std::size_t radius = window.radius, stride = width + 2 * radius;
    for (std::size_t y = 0; y < height; ++y) {  // down, into rows with zeros on both sides
        const std::size_t begin = y < radius ? 0 : y - radius, end = std::min(height, y + radius + 1);
        for (std::size_t row = begin; row < end; ++row) from[row - begin] = plane + row * width;
        float* to = scratch + y * stride;
        std::fill(to, to + radius, 0.0f);
        HWY_DYNAMIC_DISPATCH(combine)(from, window.taps + (begin + radius - y), end - begin, width, to + radius);
        std::fill(to + radius + width, to + stride, 0.0f);
    }
    for (std::size_t y = 0; y < height; ++y) {  // and across, back
        for (std::size_t i = 0; i < window.size(); ++i) from[i] = scratch + y * stride + i;
        HWY_DYNAMIC_DISPATCH(combine)(from, window.taps, window.size(), width, plane + y * width);
    }
}

}  // namespace shadowdiffusion
#endif
