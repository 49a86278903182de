// sRGB and linear light on vectors. Included once per target of Highway.
#if defined(SHADOWDIFFUSION_LIGHT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_LIGHT_INL_H
#undef SHADOWDIFFUSION_LIGHT_INL_H
#else
#define SHADOWDIFFUSION_LIGHT_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

HWY_INLINE Vector all(float value) { return hn::Set(Floats(), value); }

// base^exponent for positive, normal bases.
HWY_INLINE Vector power(Vector base, float exponent) {
    const Floats d;
    return hn::Exp(d, hn::Mul(all(exponent), hn::Log(d, base)));
}

// sRGB-encoded in [0, 1] -> linear light.
HWY_INLINE Vector linear_of(Vector encoded) {
    const Vector curve = power(hn::Div(hn::Add(encoded, all(0.055f)), all(1.055f)), 2.4f);
    return hn::IfThenElse(hn::Le(encoded, all(0.04045f)), hn::Div(encoded, all(12.92f)), curve);
}

// Linear light in [0, 1] -> sRGB-encoded.
HWY_INLINE Vector encoded_of(Vector linear) {
    const Vector base = hn::Max(linear, all(1e-6f));  // below, the straight part counts
    const Vector curve = hn::MulSub(power(base, 1 / 2.4f), all(1.055f), all(0.055f));
    return hn::IfThenElse(hn::Le(linear, all(0.0031308f)), hn::Mul(linear, all(12.92f)), curve);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
