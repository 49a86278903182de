// How one axis is reduced: the positions and weights of libvips' resize with a triangle filter (vips_reducev,
// vips_reduceh of libvips 8.14 to 8.18), so that networks see the same small photo in every runtime.
#pragma once

#include <cstddef>
#include <span>

#include "arena.h"

namespace shadowdiffusion {

// First blocks of pixels are averaged, then every target position is a weighted sum of `points` of them.
struct Reduction {
    std::size_t source, target;
    std::size_t block;   // pixels that are averaged, 1 for none
    std::size_t blocks;  // of the axis; the last one repeats the edge
    std::size_t points;
    std::span<std::ptrdiff_t> first;  // by target position: the first block, may be outside, where the edge is repeated
    std::span<std::size_t> phase;     // by target position: which weights
    std::span<float> weights;         // [PHASES + 1, points]

    static constexpr std::size_t PHASES = 64;

    std::span<const float> weights_at(std::size_t position) const {
        return weights.subspan(phase[position] * points, points);
    }
    std::size_t clamped(std::ptrdiff_t at) const {
        const auto last = static_cast<std::ptrdiff_t>(blocks) - 1;
        return static_cast<std::size_t>(at < 0 ? 0 : at > last ? last : at);
    }
};

// target is not above source. run: positions are added up from the first of so many on, as libvips does: it decides how
// ties between two phases are rounded.
Reduction reduction(std::size_t source, std::size_t target, std::size_t run, Arena& arena);

}  // namespace shadowdiffusion
