// The exponential and what is made of it. Included once per target of Highway.
#if defined(SHADOWDIFFUSION_ACTIVATION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_ACTIVATION_INL_H
#undef SHADOWDIFFUSION_ACTIVATION_INL_H
#else
#define SHADOWDIFFUSION_ACTIVATION_INL_H
#endif

#include <hwy/highway.h>

#include "cpu/convolution.h"
#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_ACTIVATION_ONCE
#define SHADOWDIFFUSION_ACTIVATION_ONCE
namespace shadowdiffusion {

// Of 2^f by powers of f: its polynomial through Chebyshev's points of [-1/2, 1/2].
inline constexpr float COEFFICIENTS[] = {1.0f,           0.69314718f,    0.240226507f,  0.0555032715f,
                                         0.00961805694f, 0.00134004280f, 0.000154614449f};

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// e^x for -86 < x < 88, and that of the nearer end beyond: 2^n 2^f with n + f = x / ln 2.
//
// Its relative error is at most 1.4e-7 + 7.3e-8 |x| on every target, with u = 2^-24 = 6.0e-8, what rounding costs at most. The
// constant: the polynomial is 2^f to 1.9e-8, and its evaluation adds 8.9e-8 where a product and a sum are rounded together, and
// 1.19e-7 where they are rounded one by one (SSE4). The slope: the product x / ln 2 is rounded, u, and its constant is right to
// 1.3e-8. n and f are exact.
HWY_INLINE Vector exponential(Vector x) {
    const Floats d;
    const hn::RebindToSigned<Floats> integers;
    const Vector rounding = hn::Set(d, 12582912.0f);  // 1.5 * 2^23: a sum with it ends with the integer n
    const Vector t = hn::Min(hn::Max(hn::Mul(x, hn::Set(d, 1.44269504f)), hn::Set(d, -125.0f)), hn::Set(d, 127.0f));
    const Vector sum = hn::Add(t, rounding), f = hn::Sub(t, hn::Sub(sum, rounding));
    Vector p = hn::Set(d, COEFFICIENTS[6]);
    for (int i = 5; i >= 0; --i) p = hn::MulAdd(p, f, hn::Set(d, COEFFICIENTS[i]));
    const auto exponent = hn::ShiftLeft<23>(hn::BitCast(integers, sum));
    return hn::BitCast(d, hn::Add(hn::BitCast(integers, p), exponent));
}

template <Activation A>
HWY_INLINE Vector activated(Vector x) {
    if constexpr (A == Activation::silu) {
        // x / (1 + e^-x), to 3.6e-7 + 7.3e-8 max(-x, 0) of itself: the error of e^-x, which weighs most where that is large; u for
        // the sum; and then either u for a division, or 2^-28 + 3u for a reciprocal of 14 bits, a step of Newton's, which
        // squares its error, and a product. Only AVX-512 has 14 bits everywhere. The reciprocals of SSE4 and AVX2 have 11.4,
        // which leaves 1.3e-7 in place of 2^-28 and other digits on processors of other makers, those of ARM have 8.
        const Vector below = hn::Add(hn::Set(Floats(), 1.0f), exponential(hn::Neg(x)));
#if HWY_TARGET <= HWY_AVX3
        const Vector guess = hn::ApproximateReciprocal(below);
        return hn::Mul(x, hn::Mul(guess, hn::NegMulAdd(below, guess, hn::Set(Floats(), 2.0f))));
#else
        return hn::Div(x, below);
#endif
    } else if constexpr (A == Activation::relu) {
        return hn::Max(x, hn::Zero(Floats()));
    } else {
        return x;
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
