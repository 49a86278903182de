#include "loop/noise.h"

#include <algorithm>

#include "loop/philox.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "loop/noise.cpp"
#include <hwy/foreach_target.h>

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Uints = hn::ScalableTag<std::uint32_t>;
using UintVector = hn::Vec<Uints>;

struct WordVectors {
    UintVector c0, c1, c2, c3;
};

struct Product {
    UintVector high, low;
};

// The 64-bit products of all lanes with a constant.
HWY_INLINE Product times(UintVector a, std::uint32_t constant) {
    const Uints d;
    const hn::RepartitionToWide<Uints> wide;
    const UintVector b = hn::Set(d, constant);
    const auto even = hn::MulEven(a, b);  // of lanes 0, 2, ...
    const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
    const UintVector high = hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even)));
    const UintVector low = hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even));
    return {high, low};
}

HWY_INLINE WordVectors philox(WordVectors c, std::uint32_t k0, std::uint32_t k1) {
    const Uints d;
    for (int round = 0; round < PHILOX_ROUNDS; ++round) {
        const Product p0 = times(c.c0, PHILOX_MULTIPLIER_0), p1 = times(c.c2, PHILOX_MULTIPLIER_1);
        c = {hn::Xor(hn::Xor(p1.high, c.c1), hn::Set(d, k0)), p1.low,
             hn::Xor(hn::Xor(p0.high, c.c3), hn::Set(d, k1)), p0.low};
        k0 += PHILOX_WEYL_0, k1 += PHILOX_WEYL_1;
    }
    return c;
}

// The words of the pixels x, x + 1, ... of row y.
HWY_INLINE WordVectors words_at(std::size_t x, std::uint32_t y, std::uint32_t step, std::uint64_t seed) {
    const Uints d;
    const WordVectors counter{hn::Iota(d, static_cast<std::uint32_t>(x)), hn::Set(d, y), hn::Set(d, step), hn::Zero(d)};
    return philox(counter, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

using Floats = hn::Rebind<float, Uints>;

// In (0, 1], from the upper 24 bits, so that the logarithm is always finite.
HWY_INLINE hn::Vec<Floats> uniform(UintVector words) {
    const Floats d;
    const hn::Rebind<std::int32_t, Uints> ints;
    const auto upper = hn::ConvertTo(d, hn::BitCast(ints, hn::ShiftRight<8>(words)));
    return hn::Mul(hn::Add(upper, hn::Set(d, 0.5f)), hn::Set(d, 0x1p-24f));
}

HWY_INLINE hn::Vec<Floats> radius(UintVector words) {
    const Floats d;
    return hn::Sqrt(hn::Abs(hn::Mul(hn::Set(d, -2.0f), hn::Log(d, uniform(words)))));  // abs: u = 1 gives -0
}

HWY_INLINE hn::Vec<Floats> angle(UintVector words) {
    return hn::Mul(hn::Set(Floats(), 6.283185307179586f), uniform(words));
}

void gaussian_row(std::uint32_t y, std::uint32_t step, std::uint64_t seed, std::size_t width, float* red, float* green,
                  float* blue) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float rest[3][hn::MaxLanes(d)];
    for (std::size_t x = 0; x < width; x += lanes) {
        const WordVectors r = words_at(x, y, step, seed);
        const auto first = radius(r.c0), turn = angle(r.c1);
        const auto a = hn::Mul(first, hn::Cos(d, turn)), b = hn::Mul(first, hn::Sin(d, turn));
        const auto c = hn::Mul(radius(r.c2), hn::Cos(d, angle(r.c3)));
        if (x + lanes <= width) {
            hn::StoreU(a, d, red + x), hn::StoreU(b, d, green + x), hn::StoreU(c, d, blue + x);
            continue;
        }
        hn::Store(a, d, rest[0]), hn::Store(b, d, rest[1]), hn::Store(c, d, rest[2]);
        const std::size_t left = width - x;
        std::copy_n(rest[0], left, red + x);
        std::copy_n(rest[1], left, green + x);
        std::copy_n(rest[2], left, blue + x);
    }
}

void words_row(std::uint32_t y, std::uint32_t step, std::uint64_t seed, std::size_t width, std::uint32_t* const* rows) {
    const Uints d;
    HWY_ALIGN std::uint32_t some[hn::MaxLanes(d)];
    for (std::size_t x = 0; x < width; x += hn::Lanes(d)) {
        const WordVectors r = words_at(x, y, step, seed);
        const UintVector each[] = {r.c0, r.c1, r.c2, r.c3};
        for (std::size_t i = 0; i < 4; ++i) {
            hn::Store(each[i], d, some);
            std::copy_n(some, std::min(hn::Lanes(d), width - x), rows[i] + x);
        }
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace shadowdiffusion {

HWY_EXPORT(gaussian_row);
HWY_EXPORT(words_row);

void gaussian(Planes noise, std::uint64_t seed, std::uint32_t step, Workers& workers) {
    workers.over(noise.height, 8, [&](std::size_t begin, std::size_t end) {
        for (std::size_t y = begin; y < end; ++y) {
            float* row = noise.values.data() + y * noise.width;
            HWY_DYNAMIC_DISPATCH(gaussian_row)
            (static_cast<std::uint32_t>(y), step, seed, noise.width, row, row + noise.area(), row + 2 * noise.area());
        }
    });
}

void philox_row(std::uint32_t y, std::uint32_t step, std::uint64_t seed, std::span<std::uint32_t> r0,
                std::span<std::uint32_t> r1, std::span<std::uint32_t> r2, std::span<std::uint32_t> r3) {
    std::uint32_t* const rows[] = {r0.data(), r1.data(), r2.data(), r3.data()};
    HWY_DYNAMIC_DISPATCH(words_row)(y, step, seed, r0.size(), rows);
}

}  // namespace shadowdiffusion
#endif
