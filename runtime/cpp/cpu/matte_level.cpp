#include "cpu/matte_level.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/matte_level.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "light-inl.h"

#ifndef SHADOWDIFFUSION_LEVEL_ONCE
#define SHADOWDIFFUSION_LEVEL_ONCE
namespace shadowdiffusion {

inline float level_at(std::size_t i) { return static_cast<float>(-0.8 + 0.4 * static_cast<double>(i)); }

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

void level_row(const float* logits, const float* const* light, std::size_t width, float* sums) {
    const Floats d;
    const Vector one = all(1);
    for (std::size_t x = 0; x < width; x += hn::Lanes(d)) {
        const auto add = [&](std::size_t plane, Vector value) HWY_ATTR {
            float* to = sums + plane * width + x;
            hn::Store(hn::Add(hn::Load(d, to), value), d, to);
        };
        Vector of[4] = {one, one, one, one};
        for (std::size_t c = 0; c < 3; ++c) of[1 + c] = hn::Log(d, hn::Add(hn::Load(d, light[c] + x), all(0.01f)));
        for (std::size_t i = 0; i < 4; ++i) add(i, of[i]);
        const Vector matte = hn::Load(d, logits + x);
        for (std::size_t k = 0; k < LEVELS; ++k) {
            const Vector soft = hn::MulAdd(hn::Sub(matte, all(level_at(k))), all(10), all(0.5f));
            const Vector inside = hn::Min(hn::Max(soft, all(0)), one);
            for (std::size_t i = 0; i < 4; ++i) add(4 + i * LEVELS + k, hn::Mul(inside, of[i]));
        }
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(level_row);

namespace {

constexpr double LEAST_SHARE = 0.25, FULL_SHARE = 0.35, ENOUGH = 20, LEAST_STEP = 0.05, FAINT = 0.25, NO_STEP = 2, ACCEPTED = 1.4;
constexpr double TEMPERATURE = 0.03, NOWHERE = 14, TOLERANCE = 0.15, LARGEST = 1, LEAST = 1e-3;
constexpr int ROUNDS = 4;

// The cells of a level's border, [cells] each: how much they count, and how much brighter red, green and blue are outside.
struct Border {
    double weight(std::size_t i) const { return static_cast<double>(weights[i]); }
    double step(std::size_t c, std::size_t i) const { return static_cast<double>(steps[c][i]); }
    double red_over_green(std::size_t i) const { return step(0, i) - step(1, i); }
    double blue_over_green(std::size_t i) const { return step(2, i) - step(1, i); }
    std::size_t count = 0;
    float *weights, *steps[3];
};

// They take the place of planes that have been read.
Border read_border(float* planes, std::size_t count, std::size_t level) {
    const auto plane = [&](std::size_t part) { return planes + (4 + part * LEVELS + level) * count; };
    Border made{.weights = plane(0), .steps = {plane(1), plane(2), plane(3)}};
    for (std::size_t i = 0; i < count; ++i) {
        double within[4], without[4];
        for (std::size_t part = 0; part < 4; ++part) {
            within[part] = static_cast<double>(plane(part)[i]);
            without[part] = static_cast<double>(planes[part * count + i]) - within[part];
        }
        const double share = (std::min(within[0], without[0]) - LEAST_SHARE) / (FULL_SHARE - LEAST_SHARE);
        if (share <= 0) continue;
        made.weights[made.count] = static_cast<float>(std::min(share, 1.0));
        for (std::size_t c = 0; c < 3; ++c) {
            const double outside = without[1 + c] / std::max(without[0], LEAST), inside = within[1 + c] / std::max(within[0], LEAST);
            made.steps[c][made.count] = static_cast<float>(outside - inside);
        }
        ++made.count;
    }
    return made;
}

// The mean of value(cell), which lone values do not move.
template <class Of>
double typical(const Border& border, const Of& value) {
    double mean = 0;
    for (int round = 0; round <= ROUNDS; ++round) {  // the first one trusts all cells alike
        double sum = 0, total = 0;
        for (std::size_t i = 0; i < border.count; ++i) {
            const double found = value(i), away = (found - mean) / TOLERANCE;
            const double weight = round == 0 ? border.weight(i) : border.weight(i) / (1 + away * away);
            sum += weight * found, total += weight;
        }
        mean = sum / std::max(total, LEAST);
    }
    return mean;
}

}  // namespace

void add_level_row(const float* logits, const float* const* light, std::size_t width, float* sums) {
    HWY_DYNAMIC_DISPATCH(level_row)(logits, light, width, sums);
}

double inconsistency(float* planes, std::size_t count, std::size_t level) {
    const Border border = read_border(planes, count, level);
    double steps[3], length = 0, wrong = 0;
    for (std::size_t c = 0; c < 3; ++c) steps[c] = typical(border, [&](std::size_t i) { return border.step(c, i); });
    const double red = typical(border, [&](std::size_t i) { return border.red_over_green(i); });
    const double blue = typical(border, [&](std::size_t i) { return border.blue_over_green(i); });
    const double strength = std::max((steps[0] + steps[1] + steps[2]) / 3, LEAST_STEP);
    const auto away = [&](double value, double from) { return std::min(std::abs(value - from) / strength, LARGEST); };
    for (std::size_t i = 0; i < border.count; ++i) {
        double spread = 0, step = 0;
        for (std::size_t c = 0; c < 3; ++c) spread += away(border.step(c, i), steps[c]) / 3, step += border.step(c, i) / 3;
        const double tinge = (away(border.red_over_green(i), red) + away(border.blue_over_green(i), blue)) / 2;
        const double no_step = std::clamp((FAINT - step / strength) / FAINT + 0.5, 0.0, 1.0);
        wrong += border.weight(i) * (spread + tinge + NO_STEP * no_step);
        length += border.weight(i);
    }
    return wrong / std::max(length, LEAST) + 2 * ACCEPTED * std::max(1 - length / ENOUGH, 0.0);
}

double level_of(const std::array<double, LEVELS>& wrong) {
    // the softmax of -wrong / TEMPERATURE, with "no shadow at all" as the last candidate
    const double least = std::min(*std::ranges::min_element(wrong), ACCEPTED);
    const auto weight = [&](double value) { return std::exp((least - value) / TEMPERATURE); };
    double total = weight(ACCEPTED), sum = total * NOWHERE;
    for (std::size_t i = 0; i < LEVELS; ++i) total += weight(wrong[i]), sum += weight(wrong[i]) * static_cast<double>(level_at(i));
    return sum / total;
}

}  // namespace shadowdiffusion
#endif
