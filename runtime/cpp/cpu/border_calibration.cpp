#include "cpu/border_calibration.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/border_calibration.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "light-inl.h"

#ifndef SHADOWDIFFUSION_BORDER_ONCE
#define SHADOWDIFFUSION_BORDER_ONCE
namespace shadowdiffusion {

inline constexpr float SURE = 0.7f, LIT = 0.2f, DARK = 0.01f;

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

void border_row(const float* matte, const float* const* light, const float* const* shade, std::size_t width, float* sums) {
    const Floats d;
    const auto log_of = [&](Vector value) HWY_ATTR { return hn::Log(d, hn::Add(value, all(DARK))); };
    for (std::size_t x = 0; x < width; x += hn::Lanes(d)) {
        const auto add = [&](std::size_t plane, Vector value) HWY_ATTR {
            float* to = sums + plane * width + x;
            hn::Store(hn::Add(hn::Load(d, to), value), d, to);
        };
        const Vector m = hn::Load(d, matte + x);
        const Vector inside = hn::Mul(hn::Max(hn::Sub(m, all(SURE)), all(0)), all(1 / (1 - SURE)));
        const Vector outside = hn::Mul(hn::Max(hn::Sub(all(LIT), m), all(0)), all(1 / LIT));
        add(0, inside);
        add(1, outside);
        for (std::size_t c = 0; c < 3; ++c) {
            const Vector before = hn::Load(d, light[c] + x);
            const Vector restored = log_of(hn::Div(before, hn::Load(d, shade[c] + x)));
            add(2 + c, hn::Mul(inside, restored));
            add(5 + c, hn::Mul(outside, restored));
            add(8 + c, hn::Mul(inside, hn::Sub(restored, log_of(before))));
        }
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(border_row);

namespace {

constexpr double LEAST_GAIN = 0.05, LARGEST = 0.6, TOLERANCE = 0.15, EVIDENCE = 10, LEAST = 1e-3, NARROWEST = 0.02;
constexpr int ROUNDS = 12;

// What cells near the border ask for, and how much each counts: [cells] for red, green and blue each.
struct Votes {
    std::size_t count = 0;
    float *votes[3], *weights[3];
};

// They take the place of planes that have been read.
Votes read_votes(float* planes, std::size_t count) {
    Votes made;
    for (std::size_t c = 0; c < 3; ++c) made.votes[c] = planes + c * count, made.weights[c] = planes + (3 + c) * count;
    for (std::size_t i = 0; i < count; ++i) {
        double at[BORDER_PLANES];
        for (std::size_t plane = 0; plane < BORDER_PLANES; ++plane) at[plane] = static_cast<double>(planes[plane * count + i]);
        const double near = std::min(at[0], at[1]) - NARROWEST, inside = std::max(at[0], LEAST), outside = std::max(at[1], LEAST);
        if (near <= 0) continue;
        for (std::size_t c = 0; c < 3; ++c) {
            const double gain = std::max(at[8 + c] / inside, LEAST_GAIN), step = at[5 + c] / outside - at[2 + c] / inside;
            made.votes[c][made.count] = static_cast<float>(std::clamp(step / gain, -LARGEST, LARGEST));
            made.weights[c][made.count] = static_cast<float>(near * gain);
        }
        ++made.count;
    }
    return made;
}

}  // namespace

void add_border_row(const float* matte, const float* const* light, const float* const* shade, std::size_t width, float* sums) {
    HWY_DYNAMIC_DISPATCH(border_row)(matte, light, shade, width, sums);
}

std::array<double, 3> border_change(float* planes, std::size_t count) {
    const Votes of = read_votes(planes, count);
    std::array<double, 3> agreed = {}, total = {};
    for (int round = 0; round <= ROUNDS; ++round) {  // the first one trusts all cells alike
        std::array<double, 3> sum = {};
        total = {};
        for (std::size_t i = 0; i < of.count; ++i) {
            double distance = 0;
            for (std::size_t c = 0; c < 3; ++c) {
                const double away = (static_cast<double>(of.votes[c][i]) - agreed[c]) / TOLERANCE;
                distance += away * away / 3;
            }
            const double trust = round == 0 ? 1 : 1 / (1 + distance);
            for (std::size_t c = 0; c < 3; ++c) {
                const double weight = static_cast<double>(of.weights[c][i]) * trust;
                total[c] += weight, sum[c] += weight * static_cast<double>(of.votes[c][i]);
            }
        }
        for (std::size_t c = 0; c < 3; ++c) agreed[c] = sum[c] / std::max(total[c], LEAST);
    }
    for (std::size_t c = 0; c < 3; ++c) agreed[c] *= total[c] / (total[c] + EVIDENCE);
    return agreed;
}

}  // namespace shadowdiffusion
#endif
