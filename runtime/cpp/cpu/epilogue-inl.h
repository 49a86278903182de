// What happens to a convolution's outputs before they are stored. Included once per target of Highway.
#if defined(SHADOWDIFFUSION_EPILOGUE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_EPILOGUE_INL_H
#undef SHADOWDIFFUSION_EPILOGUE_INL_H
#else
#define SHADOWDIFFUSION_EPILOGUE_INL_H
#endif

#include <algorithm>

#include <hwy/highway.h>

#include "cpu/convolution.h"
#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// A vector of outputs, over pixels one after the other.
class Epilogue {
  public:
    HWY_INLINE Epilogue(const Convolution& of, std::size_t output)
        : channels_(of.out.channels), channel_(output % channels_), to_(of.out.channel(channel_)),
          plus_(of.plus.data ? of.plus.channel(channel_) : nullptr), bias_(hn::Load(Floats(), of.bias + output)), sum_(hn::Zero(Floats())), squares_(hn::Zero(Floats())) {}

    HWY_INLINE void store(Vector value, std::size_t pixel) {
        const Floats d;
        value = hn::Add(value, bias_);
        if (plus_) value = hn::Add(value, hn::Load(d, plus_ + pixel * LANES));
        hn::Store(value, d, to_ + pixel * LANES);
        sum_ = hn::Add(sum_, value);
        squares_ = hn::MulAdd(value, value, squares_);
    }

    // Add what was stored since the last call to the sums [2, channels] of the block: after a hundred pixels or so, as
    // floats add up to seven digits.
    HWY_INLINE void add_to(double* sums) {
        if (!sums) return;
        const Floats d;
        HWY_ALIGN float values[2 * hn::MaxLanes(d)];
        const std::size_t lanes = hn::Lanes(d);
        hn::Store(sum_, d, values);
        hn::Store(squares_, d, values + lanes);
        for (std::size_t i = 0; i < lanes; ++i) {
            sums[channel_ + i] += static_cast<double>(values[i]);
            sums[channels_ + channel_ + i] += static_cast<double>(values[lanes + i]);
        }
        sum_ = squares_ = hn::Zero(d);
    }

  private:
    std::size_t channels_, channel_;
    float* to_;
    const float* plus_;
    Vector bias_, sum_, squares_;
};

// The sums of a block for the channels [first, last), which begin at zero; null where they are not wanted.
HWY_INLINE double* sums_of(const Convolution& of, std::size_t block, std::size_t first, std::size_t last) {
    if (!of.sums) return nullptr;
    double* sums = of.sums + block * 2 * of.out.channels;
    std::fill(sums + first, sums + last, 0.0);
    std::fill(sums + of.out.channels + first, sums + of.out.channels + last, 0.0);
    return sums;
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
