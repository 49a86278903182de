// Layer normalisation of a pixel over its channels (Ba et al. 2016), whose weights are left to what follows. Included once per
// target of Highway.
#if defined(SHADOWDIFFUSION_STANDARDISE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_STANDARDISE_INL_H
#undef SHADOWDIFFUSION_STANDARDISE_INL_H
#else
#define SHADOWDIFFUSION_STANDARDISE_INL_H
#endif

#include <cstddef>

#include <hwy/highway.h>

#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// to = (from - mean) / sqrt(variance + epsilon), all `channels` (a multiple of 16) of one pixel; both aligned to 64 bytes.
HWY_INLINE void standardise(const float* from, std::size_t channels, float epsilon, float* to) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    const Vector share = hn::Set(d, 1 / static_cast<float>(channels));
    Vector sum = hn::Zero(d), squares = hn::Zero(d);
    for (std::size_t c = 0; c < channels; c += lanes) sum = hn::Add(sum, hn::Load(d, from + c));
    const Vector mean = hn::Mul(hn::SumOfLanes(d, sum), share);
    for (std::size_t c = 0; c < channels; c += lanes) {
        const Vector value = hn::Sub(hn::Load(d, from + c), mean);
        squares = hn::MulAdd(value, value, squares);
    }
    const Vector variance = hn::MulAdd(hn::SumOfLanes(d, squares), share, hn::Set(d, epsilon));
    const Vector factor = hn::Div(hn::Set(d, 1), hn::Sqrt(variance));
    for (std::size_t c = 0; c < channels; c += lanes) hn::Store(hn::Mul(hn::Sub(hn::Load(d, from + c), mean), factor), d, to + c);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
