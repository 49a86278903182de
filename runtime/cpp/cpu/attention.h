// Single-head self-attention over all pixels of a feature map.
#pragma once

#include <cstddef>

#include "cpu/convolution.h"

namespace shadowdiffusion {

// out = softmax(q k^T scale) v, rows are pixels. Query, key and value are channels of one map or of several, of one size;
// channels beyond what they have by right are zeros.
struct Attention {
    Channels query, key, value, out;
    float scale = 1;
};

// Floats of `keys` and `values` together, and of the scratch memory of a block.
std::size_t attention_shared(const Attention& of);
std::size_t attention_scratch(const Attention& of);
std::size_t attention_blocks(const Attention& of);

// First all of the parts [0, attention_parts), which lay keys and values out in `shared`, then all of the blocks.
std::size_t attention_parts(const Attention& of);
void attention_part(const Attention& of, std::size_t part, float* shared);
void attention_block(const Attention& of, std::size_t block, const float* shared, float* scratch);

}  // namespace shadowdiffusion
