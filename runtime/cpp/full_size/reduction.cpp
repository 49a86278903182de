#include "full_size/reduction.h"

#include <algorithm>
#include <cmath>

namespace shadowdiffusion {

namespace {

constexpr double GAP = 2;  // averaging leaves at least this factor to the filter

// The triangle of `points` weights for a position that is `x` in [0, 1] past the middle one, at a reduction of `shrink`.
void triangle(std::span<float> weights, double shrink, double x) {
    const double half = x + static_cast<double>(weights.size()) / 2 - 1, scale = 1 / shrink;
    const auto height = [&](std::size_t i) { return std::max(0.0, 1 - std::abs((static_cast<double>(i) - half) * scale)); };
    double sum = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) sum += height(i);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(height(i) / sum);
}

}  // namespace

Reduction reduction(std::size_t source, std::size_t target, std::size_t run, Arena& arena) {
    Reduction of{.source = source, .target = target, .block = 1, .blocks = source, .points = 1,
                 .first = arena.take<std::ptrdiff_t>(target), .phase = arena.take<std::size_t>(target), .weights = {}};
    if (source == target) {
        of.weights = arena.take<float>(1);
        of.weights[0] = 1;
        for (std::size_t i = 0; i < target; ++i) of.first[i] = static_cast<std::ptrdiff_t>(i), of.phase[i] = 0;
        return of;
    }
    const auto from = static_cast<double>(source), to = static_cast<double>(target);
    double shrink = 1 / (to / from), surplus = to * shrink - from;
    of.block = static_cast<std::size_t>(std::max(1.0, std::floor(from / to / GAP)));
    of.blocks = (source + of.block - 1) / of.block;
    shrink /= static_cast<double>(of.block), surplus /= static_cast<double>(of.block);
    const auto reach = static_cast<std::ptrdiff_t>(std::rint(shrink));
    of.points = static_cast<std::size_t>(2 * reach + 1);
    of.weights = arena.take<float>((Reduction::PHASES + 1) * of.points);
    for (std::size_t i = 0; i <= Reduction::PHASES; ++i)
        triangle(of.weights.subspan(i * of.points, of.points), shrink, static_cast<double>(i) / Reduction::PHASES);
    const double offset = (1 + surplus) / 2 - 1;
    double position = 0;
    for (std::size_t i = 0; i < target; ++i) {
        position = i % run == 0 ? (static_cast<double>(i) + 0.5) * shrink - 0.5 - offset : position + shrink;
        const auto fine = static_cast<std::size_t>(position * 2 * Reduction::PHASES) & (2 * Reduction::PHASES - 1);
        of.phase[i] = (fine + 1) / 2;
        of.first[i] = static_cast<std::ptrdiff_t>(position) - reach;
    }
    return of;
}

}  // namespace shadowdiffusion
