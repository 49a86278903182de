// Convolutions of feature maps, with what comes before and after them.
#pragma once

#include <cstddef>

#include "cpu/panels.h"

namespace shadowdiffusion {

enum class Activation { none, relu, silu };

// Channels of a feature map, a multiple of LANES, as [channels / LANES, height, width, LANES], aligned to 64 bytes: what is read
// vector by vector lies side by side, and channels of several maps can follow each other.
struct Channels {
    float* data = nullptr;
    std::size_t height = 0, width = 0, channels = 0;
    std::size_t area() const { return height * width; }
    // Of a channel, the first pixel; the others follow LANES floats apart.
    float* channel(std::size_t c) const { return data + c / LANES * LANES * area() + c % LANES; }
};

// out = weights * activation(scale in + shift) + bias + plus, zeros around the activated input of kernels of 3x3.
struct Convolution {
    Channels in = {}, out = {};
    const float* panels = nullptr;  // of the way that runs it
    const float* bias = nullptr;    // [out.channels]
    const float* scale = nullptr;   // [in.channels]; null: neither scale nor shift
    const float* shift = nullptr;
    Channels plus = {};  // of the output's size, or without data
    std::size_t kernel = 3, step = 1;  // side of the kernel (1 to 3), and pixels from one output to the next (1 or 2)
    bool doubled = false;              // the input is doubled first, by repetition
    Activation activation = Activation::none;
    float epsilon = 0;      // above 0, each input pixel is standardised over its channels first, in kernels of 1x1
    std::size_t patch = 1;  // 2: each pixel gives a patch of 2x2, all channels of its first pixel first; channels are whole panels
    // [block, 2, out.channels]: sums of the outputs and of their squares over the pixels of each block; null: not wanted.
    double* sums = nullptr;
    std::size_t outputs() const { return patch * patch * out.channels; }
};

// A way to compute convolutions, block of pixels by block. What a block gives does not depend on how many threads there are.
struct Way {
    std::size_t (*blocks)(const Convolution& of);
    std::size_t (*scratch)(const Convolution& of);  // floats that a block needs
    // Of outputs(), those in [first, last) for one block, multiples of PANEL but for the last channel; `scratch` is aligned to 64 bytes.
    void (*run)(const Convolution& of, std::size_t block, std::size_t first, std::size_t last, float* scratch);
};

extern const Way WINOGRAD;  // kernels of 3x3 and step 1: Winograd's F(4x4, 3x3), a quarter of the products, weights of 4 times the size
extern const Way DIRECT;    // all others: pixels and their surroundings as rows of a matrix

// Whether Winograd's way is the faster one: with few tiles its larger weights take longer to read than they save.
bool suits_winograd(const Convolution& of);

}  // namespace shadowdiffusion
