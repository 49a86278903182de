// Counter-based Gaussian noise: every pixel's value depends only on (seed, step, y, x), as in runtime/loop/noise.py.
#pragma once

#include <cstdint>
#include <span>

#include "fields.h"
#include "workers.h"

namespace shadowdiffusion {

// Standard normal noise into `noise` [3, H, W]. step 0 is the initial state of the sampler, step i + 1 the fresh noise
// of its step i. Counter (x, y, step, 0), key (seed low, seed high); Box-Muller in float: the words are those of the
// Python runtime bit for bit, the deviates to the last digits of logarithm, sine and cosine.
void gaussian(Planes noise, std::uint64_t seed, std::uint32_t step, Workers& workers);

// The random words r0 to r3 of the pixels x = 0, 1, ... of one row, which `gaussian` turns into deviates.
void philox_row(std::uint32_t y, std::uint32_t step, std::uint64_t seed, std::span<std::uint32_t> r0,
                std::span<std::uint32_t> r1, std::span<std::uint32_t> r2, std::span<std::uint32_t> r3);

}  // namespace shadowdiffusion
