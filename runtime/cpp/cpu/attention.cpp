#include "cpu/attention.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "cpu/activation-inl.h"
#include "cpu/multiply-inl.h"
#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_ATTENTION_ONCE
#define SHADOWDIFFUSION_ATTENTION_ONCE
namespace shadowdiffusion {

inline constexpr std::size_t QUERIES = 56;

// Pixels in panels, their last filled up; floats from one row of weights to the next.
inline std::size_t filled(const Attention& of) { return panels_of(of.key.area()) * PANEL; }
inline std::size_t weights_stride(const Attention& of) { return filled(of) + LANES; }
inline std::size_t query_stride(const Attention& of) { return of.query.channels + LANES; }

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// e^(scale (x - largest x)) over its sum, for the first `count` values of a row; the rest of its last panel are zeros.
HWY_INLINE void softmax(float* row, std::size_t count, float scale) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), whole = count / lanes * lanes;
    Vector most = hn::Set(d, row[0]);
    for (std::size_t i = 0; i < whole; i += lanes) most = hn::Max(most, hn::Load(d, row + i));
    float largest = hn::GetLane(hn::MaxOfLanes(d, most));
    for (std::size_t i = whole; i < count; ++i) largest = std::max(largest, row[i]);
    const std::size_t end = (count + PANEL - 1) / PANEL * PANEL;
    std::fill(row + count, row + end, largest);  // what is no pixel shall not overflow
    const Vector factor = hn::Set(d, scale), top = hn::Set(d, largest);
    Vector sums = hn::Zero(d);
    for (std::size_t i = 0; i < end; i += lanes) {
        const Vector weight = exponential(hn::Mul(hn::Sub(hn::Load(d, row + i), top), factor));
        hn::Store(weight, d, row + i);
        if (i < whole) sums = hn::Add(sums, weight);
    }
    float sum = hn::GetLane(hn::SumOfLanes(d, sums));
    for (std::size_t i = whole; i < count; ++i) sum += row[i];
    std::fill(row + count, row + end, 0.0f);
    const Vector share = hn::Set(d, 1 / sum);
    for (std::size_t i = 0; i < end; i += lanes) hn::Store(hn::Mul(hn::Load(d, row + i), share), d, row + i);
}

void attend(const Attention& of, std::size_t block, const float* shared, float* scratch) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), begin = block * QUERIES, pixels = of.key.area(), stride = weights_stride(of);
    const std::size_t queries = std::min(QUERIES, of.query.area() - begin), channels = of.key.channels;
    float* rows = scratch + QUERIES * (stride + PANEL);
    for (std::size_t c = 0; c < channels; c += lanes)
        for (std::size_t i = 0; i < queries; ++i)
            hn::Store(hn::Load(d, of.query.channel(c) + (begin + i) * LANES), d, rows + i * query_stride(of) + c);
    for (std::size_t k = 0; k < filled(of); k += PANEL)
        multiply(queries, channels, PANEL, rows, query_stride(of), shared + k * channels, scratch + k, stride);
    for (std::size_t i = 0; i < queries; ++i) softmax(scratch + i * stride, pixels, of.scale);
    const float* values = shared + filled(of) * channels;
    float* products = scratch + QUERIES * stride;
    for (std::size_t k = 0; k < of.value.channels; k += PANEL) {
        const std::size_t columns = std::min(PANEL, of.value.channels - k);
        multiply(queries, pixels, columns, scratch, stride, values + k * pixels, products, PANEL);
        for (std::size_t i = 0; i < queries; ++i)
            for (std::size_t c = 0; c < columns; c += lanes)
                hn::Store(hn::Load(d, products + i * PANEL + c), d, of.out.channel(k + c) + (begin + i) * LANES);
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(attend);

std::size_t attention_shared(const Attention& of) {
    return filled(of) * of.key.channels + panels_of(of.value.channels) * PANEL * of.value.area();
}

std::size_t attention_scratch(const Attention& of) { return QUERIES * (weights_stride(of) + PANEL + query_stride(of)); }

std::size_t attention_blocks(const Attention& of) { return (of.query.area() + QUERIES - 1) / QUERIES; }

std::size_t attention_parts(const Attention& of) { return filled(of) / PANEL; }

// The panel `part` of the transposed keys, and of every panel of values the rows of the same pixels.
void attention_part(const Attention& of, std::size_t part, float* shared) {
    const std::size_t first = part * PANEL, last = std::min(first + PANEL, of.key.area());
    float* keys = shared + first * of.key.channels;
    std::fill(keys, keys + of.key.channels * PANEL, 0.0f);
    float* values = shared + filled(of) * of.key.channels;
    for (std::size_t pixel = first; pixel < last; ++pixel) {
        for (std::size_t c = 0; c < of.key.channels; ++c) keys[c * PANEL + pixel - first] = of.key.channel(c)[pixel * LANES];
        for (std::size_t k = 0; k < panels_of(of.value.channels) * PANEL; k += LANES) {
            float* to = values + k / PANEL * PANEL * of.value.area() + pixel * PANEL + k % PANEL;
            if (k < of.value.channels)
                std::copy_n(of.value.channel(k) + pixel * LANES, LANES, to);
            else
                std::fill(to, to + LANES, 0.0f);
        }
    }
}

void attention_block(const Attention& of, std::size_t block, const float* shared, float* scratch) {
    HWY_DYNAMIC_DISPATCH(attend)(of, block, shared, scratch);
}

}  // namespace shadowdiffusion
#endif
