#include "cpu/pointwise.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/pointwise.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "cpu/multiply-inl.h"
#include "cpu/standardise-inl.h"
#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_POINTWISE_ONCE
#define SHADOWDIFFUSION_POINTWISE_ONCE
namespace shadowdiffusion {

// The scratch memory of a block: rows [pixel, channels] of what the products read and of s, and two panels of products. Rows are
// apart by no multiple of a page: else they would share few lines of the cache.
struct Rows {
    explicit Rows(const Pointwise& of)
        : factor(std::max(of.in.channels, of.out.channels) + LANES), gate(of.hidden + LANES), sum(of.out.channels + LANES),
          gates(of.pixels * factor), sums(gates + of.pixels * gate), products(sums + of.pixels * sum),
          others(products + of.pixels * PANEL), all(others + of.pixels * PANEL) {}
    std::size_t factor, gate, sum;                   // floats from one pixel to the next
    std::size_t gates, sums, products, others, all;  // where they begin, after the factors
};

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// Calls make(column, count) for each panel of `columns`, then visit(column, that of the panel) for each vector of it.
template <class Make, class Visit>
HWY_INLINE void by_panels(std::size_t columns, const Make& make, const Visit& visit) {
    for (std::size_t k = 0; k < columns; k += PANEL) {
        const std::size_t count = std::min(PANEL, columns - k);
        make(k, count);
        for (std::size_t column = 0; column < count; column += hn::Lanes(Floats())) visit(k + column, column);
    }
}

void pointwise(const Pointwise& of, std::size_t block, float* scratch) {
    const Floats d;
    const std::size_t inputs = of.in.channels, outputs = of.out.channels, lanes = hn::Lanes(d);
    const std::size_t begin = block * of.pixels, pixels = std::min(of.pixels, of.out.area() - begin);
    const Rows rows(of);
    float *factors = scratch, *gates = scratch + rows.gates, *sums = scratch + rows.sums;
    float *products = scratch + rows.products, *others = scratch + rows.others;
    const auto load = [&](const float* panel, std::size_t pixel, std::size_t column) HWY_ATTR {
        return hn::Load(d, panel + pixel * PANEL + column);
    };

    for (std::size_t c = 0; c < inputs; c += lanes) {
        const float* from = of.in.channel(c) + begin * LANES;
        const Vector scale = hn::LoadU(d, of.scale + c);
        for (std::size_t i = 0; i < pixels; ++i)
            hn::Store(hn::Mul(hn::Load(d, from + i * LANES), scale), d, factors + i * rows.factor + c);
    }
    by_panels(
        outputs,
        [&](std::size_t k, std::size_t count) HWY_ATTR {
            multiply(pixels, inputs, count, factors, rows.factor, of.project.panels + k * inputs, products, PANEL);
        },
        [&](std::size_t c, std::size_t column) HWY_ATTR {
            const float* plus = of.plus.channel(c) + begin * LANES;
            const Vector bias = hn::LoadU(d, of.project.bias + c);
            for (std::size_t i = 0; i < pixels; ++i) {
                const Vector value = hn::Add(load(products, i, column), bias);
                hn::Store(hn::Add(value, hn::Load(d, plus + i * LANES)), d, sums + i * rows.sum + c);
            }
        });

    for (std::size_t i = 0; i < pixels; ++i) standardise(sums + i * rows.sum, outputs, of.epsilon, factors + i * rows.factor);
    by_panels(
        of.hidden,
        [&](std::size_t k, std::size_t count) HWY_ATTR {
            multiply(pixels, outputs, count, factors, rows.factor, of.first.panels + k * outputs, products, PANEL);
            multiply(pixels, outputs, count, factors, rows.factor, of.second.panels + k * outputs, others, PANEL);
        },
        [&](std::size_t c, std::size_t column) HWY_ATTR {
            const Vector first = hn::LoadU(d, of.first.bias + c), second = hn::LoadU(d, of.second.bias + c);
            for (std::size_t i = 0; i < pixels; ++i) {
                const Vector a = hn::Add(load(products, i, column), first), b = hn::Add(load(others, i, column), second);
                hn::Store(hn::Mul(a, b), d, gates + i * rows.gate + c);
            }
        });

    by_panels(
        outputs,
        [&](std::size_t k, std::size_t count) HWY_ATTR {
            multiply(pixels, of.hidden, count, gates, rows.gate, of.contract.panels + k * of.hidden, products, PANEL);
        },
        [&](std::size_t c, std::size_t column) HWY_ATTR {
            float* to = of.out.channel(c) + begin * LANES;
            const Vector bias = hn::LoadU(d, of.contract.bias + c);
            for (std::size_t i = 0; i < pixels; ++i) {
                const Vector value = hn::Add(load(products, i, column), bias);
                hn::Store(hn::Add(value, hn::Load(d, sums + i * rows.sum + c)), d, to + i * LANES);
            }
        });
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(pointwise);

std::size_t pointwise_blocks(const Pointwise& of) { return (of.out.area() + of.pixels - 1) / of.pixels; }

std::size_t pointwise_scratch(const Pointwise& of) { return Rows(of).all; }

void pointwise_block(const Pointwise& of, std::size_t block, float* scratch) { HWY_DYNAMIC_DISPATCH(pointwise)(of, block, scratch); }

}  // namespace shadowdiffusion
#endif
