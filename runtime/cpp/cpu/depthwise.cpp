#include "cpu/depthwise.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/depthwise.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_DEPTHWISE_ONCE
#define SHADOWDIFFUSION_DEPTHWISE_ONCE
namespace shadowdiffusion {

inline constexpr std::size_t ROWS = 8, TAPS = 9;

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// One half of the input, for a vector of channels.
class Half {
  public:
    HWY_INLINE Half(const GatedDepthwise& of, std::size_t channel)
        : data_(of.in.channel(channel)), height_(of.in.height), width_(of.in.width), bias_(hn::LoadU(Floats(), of.bias + channel)) {
        for (std::size_t tap = 0; tap < TAPS; ++tap) weights_[tap] = hn::LoadU(Floats(), of.weights + tap * of.in.channels + channel);
    }

    // The kernel over the pixel (y, x); `inside`: all of it lies on the map.
    template <bool INSIDE>
    HWY_INLINE Vector at(std::size_t y, std::size_t x) const {
        Vector sum = bias_;
#pragma GCC unroll 3
        for (std::size_t i = 0; i < 3; ++i)
#pragma GCC unroll 3
            for (std::size_t j = 0; j < 3; ++j) {
                const std::size_t row = y + i - 1, column = x + j - 1;  // may wrap around
                if (!INSIDE && (row >= height_ || column >= width_)) continue;
                sum = hn::MulAdd(hn::Load(Floats(), data_ + (row * width_ + column) * LANES), weights_[3 * i + j], sum);
            }
        return sum;
    }

  private:
    const float* data_;
    std::size_t height_, width_;
    Vector bias_, weights_[TAPS];
};

void depthwise(const GatedDepthwise& of, std::size_t block, std::size_t plane) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), height = of.out.height, width = of.out.width, channels = of.out.channels;
    const std::size_t begin = block * ROWS, end = std::min(begin + ROWS, height);
    HWY_ALIGN float values[2 * hn::MaxLanes(d)];
    for (std::size_t channel = plane * LANES; channel < (plane + 1) * LANES; channel += lanes) {
        const Half a(of, channel), b(of, channels + channel);
        float* to = of.out.channel(channel);
        double* sums = of.sums ? of.sums + block * 2 * channels + channel : nullptr;
        for (std::size_t i = 0; sums && i < lanes; ++i) sums[i] = sums[channels + i] = 0;
        for (std::size_t y = begin; y < end; ++y) {
            Vector sum = hn::Zero(d), squares = hn::Zero(d);
            const auto store = [&](Vector value, std::size_t x) HWY_ATTR {
                hn::Store(value, d, to + (y * width + x) * LANES);
                sum = hn::Add(sum, value);
                squares = hn::MulAdd(value, value, squares);
            };
            const auto edge = [&](std::size_t x) HWY_ATTR { store(hn::Mul(a.at<false>(y, x), b.at<false>(y, x)), x); };
            if (y == 0 || y + 1 == height || width == 1) {
                for (std::size_t x = 0; x < width; ++x) edge(x);
            } else {
                edge(0);
                for (std::size_t x = 1; x + 1 < width; ++x) store(hn::Mul(a.at<true>(y, x), b.at<true>(y, x)), x);
                edge(width - 1);
            }
            if (!sums) continue;
            hn::Store(sum, d, values);
            hn::Store(squares, d, values + lanes);
            for (std::size_t i = 0; i < lanes; ++i) {
                sums[i] += static_cast<double>(values[i]);
                sums[channels + i] += static_cast<double>(values[lanes + i]);
            }
        }
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(depthwise);

std::size_t depthwise_blocks(const GatedDepthwise& of) { return (of.out.height + ROWS - 1) / ROWS; }

void depthwise_block(const GatedDepthwise& of, std::size_t block, std::size_t plane) {
    HWY_DYNAMIC_DISPATCH(depthwise)(of, block, plane);
}

}  // namespace shadowdiffusion
#endif
