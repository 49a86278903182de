// What follows the first gate of a block of NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022), all of
// it pixel by pixel: nothing in between goes through memory.
#pragma once

#include <cstddef>

#include "cpu/convolution.h"

namespace shadowdiffusion {

// A matrix as `plain_panels` lays it out, and what is added to its product.
struct Linear {
    const float* panels = nullptr;
    const float* bias = nullptr;
};

// s = plus + project (scale in), out = s + contract (first n * second n), n = s standardised over its channels.
struct Pointwise {
    Channels in = {}, plus = {}, out = {};  // plus, out: of the same channels
    const float* scale = nullptr;           // [in.channels]
    std::size_t hidden = 0;                 // channels of the gate, a multiple of LANES
    Linear project = {}, first = {}, second = {}, contract = {};
    float epsilon = 0;
    std::size_t pixels = MOST_PIXELS;  // of a block, at most MOST_PIXELS; changes nothing in what comes out
    static constexpr std::size_t MOST_PIXELS = 56;
};

std::size_t pointwise_blocks(const Pointwise& of);
std::size_t pointwise_scratch(const Pointwise& of);  // floats that a block needs, aligned to 64 bytes
void pointwise_block(const Pointwise& of, std::size_t block, float* scratch);

}  // namespace shadowdiffusion
