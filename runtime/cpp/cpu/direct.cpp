// Convolutions as products of matrices: the surroundings of up to 56 pixels, normalised and activated, are rows of one.
#include "cpu/convolution.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/direct.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "cpu/activation-inl.h"
#include "cpu/epilogue-inl.h"
#include "cpu/multiply-inl.h"
#include "cpu/standardise-inl.h"
#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_DIRECT_ONCE
#define SHADOWDIFFUSION_DIRECT_ONCE
namespace shadowdiffusion {

inline constexpr std::size_t MOST_PIXELS = 56;

// Floats of a row, and from one row to the next: no multiple of a page.
inline std::size_t row_values(const Convolution& of) { return of.kernel * of.kernel * of.in.channels; }
inline std::size_t row_stride(const Convolution& of) { return row_values(of) + LANES; }

// Places from which outputs come: those of the map, or of the patches in it.
inline std::size_t places(const Convolution& of) { return of.out.area() / (of.patch * of.patch); }

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// The surroundings of the place (y, x): [kernel, kernel, channels], zeros where the map has ended.
template <Activation A>
HWY_INLINE void read_row(const Convolution& of, std::size_t y, std::size_t x, float* to) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), margin = (of.kernel - 1) / 2, shift = of.doubled ? 1 : 0;
    const std::size_t height = of.in.height << shift, width = of.in.width << shift;
    for (std::size_t i = 0; i < of.kernel; ++i)
        for (std::size_t j = 0; j < of.kernel; ++j, to += of.in.channels) {
            const std::size_t row = y * of.step + i - margin, column = x * of.step + j - margin;  // may wrap around
            if (row >= height || column >= width) {
                std::fill(to, to + of.in.channels, 0.0f);
                continue;
            }
            const std::size_t pixel = ((row >> shift) * of.in.width + (column >> shift)) * LANES;
            for (std::size_t c = 0; c < of.in.channels; c += lanes) {
                Vector value = hn::Load(d, of.in.channel(c) + pixel);
                if (of.scale) value = hn::MulAdd(value, hn::Load(d, of.scale + c), hn::Load(d, of.shift + c));
                hn::Store(activated<A>(value), d, to + c);
            }
        }
}

void direct(const Convolution& of, std::size_t block, std::size_t first, std::size_t last, float* scratch) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), begin = block * MOST_PIXELS, values = row_values(of), stride = row_stride(of);
    const std::size_t pixels = std::min(MOST_PIXELS, places(of) - begin), width = of.out.width / of.patch;
    std::size_t first_pixels[MOST_PIXELS];  // of the patches
    for (std::size_t i = 0; i < pixels; ++i) {
        const std::size_t y = (begin + i) / width, x = (begin + i) % width;
        first_pixels[i] = (y * of.out.width + x) * of.patch;
        switch (of.activation) {
            case Activation::none: read_row<Activation::none>(of, y, x, scratch + i * stride); break;
            case Activation::relu: read_row<Activation::relu>(of, y, x, scratch + i * stride); break;
            case Activation::silu: read_row<Activation::silu>(of, y, x, scratch + i * stride); break;
        }
        if (of.epsilon > 0) standardise(scratch + i * stride, values, of.epsilon, scratch + i * stride);
    }
    float* products = scratch + MOST_PIXELS * stride;
    double* sums = sums_of(of, block, first, last);
    for (std::size_t k = first; k < last; k += PANEL) {
        const std::size_t columns = std::min(PANEL, last - k), place = k / of.out.channels;  // in the patch
        const std::size_t ahead = place / of.patch * of.out.width + place % of.patch;
        multiply(pixels, values, columns, scratch, stride, of.panels + k * values, products, PANEL);
        for (std::size_t column = 0; column < columns; column += lanes) {
            Epilogue epilogue(of, k + column);
            for (std::size_t i = 0; i < pixels; ++i)
                epilogue.store(hn::Load(d, products + i * PANEL + column), first_pixels[i] + ahead);
            epilogue.add_to(sums);
        }
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(direct);

const Way DIRECT = {
    [](const Convolution& of) { return (places(of) + MOST_PIXELS - 1) / MOST_PIXELS; },
    [](const Convolution& of) { return MOST_PIXELS * (row_stride(of) + PANEL); },
    [](const Convolution& of, std::size_t block, std::size_t first, std::size_t last, float* scratch) {
        HWY_DYNAMIC_DISPATCH(direct)(of, block, first, last, scratch);
    },
};

}  // namespace shadowdiffusion
#endif
