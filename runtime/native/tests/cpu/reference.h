// What the kernels compute, in double precision and in the plainest way.
#pragma once

#include <cstddef>
#include <span>

#include "cpu/convolution.h"
#include "cpu/grid.h"

double silu(double x);

// Convolution of `in` [height, width, inputs] with weights [kernel, kernel, inputs, outputs]; `scale` and `shift` may be
// empty, `plus` null. The fields of shadowdiffusion::Convolution of the same names say the rest.
struct Layer {
    std::size_t kernel = 3, step = 1;
    bool doubled = false;
    shadowdiffusion::Activation activation = shadowdiffusion::Activation::none;
    std::span<const float> weights, bias, scale, shift;
    const Grid* plus = nullptr;
};
Grid convolve(const Grid& in, const Layer& layer);

// softmax(q k^T scale) v over all pixels.
Grid attend(const Grid& query, const Grid& key, const Grid& value, double scale);
