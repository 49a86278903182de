// The end of a degradation prior: what its network knows of a photo becomes the clean photo and the matte of its shadow
// (training/degradation.py; ShadowDiffusion, CVPR 2023, supplement Eq. A).
#pragma once

#include <array>
#include <cstddef>

#include "cpu/convolution.h"
#include "cpu/scratch.h"
#include "workers.h"

namespace shadowdiffusion {

// Sides of photos are multiples of this many pixels.
inline constexpr std::size_t DEGRADATION_MULTIPLE = 16;

// In linear light x = v + (y - v) / h with h = 1 - (1 - w) m: the weight w and the veil v are smooth fields, the matte m is as
// large as the photo. Calibrated, the logarithm of h changes by what the border of the shadow shows, and the matte is moved to
// the level that looks most like a shadow's.
struct Degradation {
    std::size_t height = 0, width = 0;       // of the photo
    std::array<const float*, 3> image = {};  // its planes, as sRGB encodes them, in [0, 1]
    Channels weight = {}, veil = {};         // before the logistic function; `veil` without data: none
    Channels matte = {};                     // logits, patches of `patch` x `patch` pixels as channels
    std::size_t patch = 1;
    float least = 0, most = 0;     // of log w
    float thickest = 0;            // veil
    const float* trust = nullptr;  // [3], in what the border shows; null: not calibrated
    // What is made, both [height, width] planes, or null.
    std::array<float*, 3> clean = {};
    float* shadow = nullptr;
};

std::size_t degradation_memory(const Degradation& of);   // floats, aligned to 64 bytes
std::size_t degradation_scratch(const Degradation& of);  // of each piece
void restore(const Degradation& of, float* memory, Workers& workers, Scratch& scratch);

}  // namespace shadowdiffusion
