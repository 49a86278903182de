// The first gate of a block of NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022).
#pragma once

#include <cstddef>

#include "cpu/convolution.h"

namespace shadowdiffusion {

// out = a * b, where a and b are the first and the second half of the input's channels, each by itself convolved with its
// kernel of 3x3, zeros around the map, plus its bias.
struct GatedDepthwise {
    Channels in = {}, out = {};      // 2 C and C channels of the same size
    const float* weights = nullptr;  // [3, 3, in.channels]
    const float* bias = nullptr;     // [in.channels]
    double* sums = nullptr;          // [block, 2, out.channels], as those of `Convolution`
};

// Blocks are some rows of the map. Blocks and planes of LANES channels can be computed in any order.
std::size_t depthwise_blocks(const GatedDepthwise& of);
void depthwise_block(const GatedDepthwise& of, std::size_t block, std::size_t plane);

}  // namespace shadowdiffusion
