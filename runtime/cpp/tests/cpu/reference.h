// What the kernels compute, in double precision and in the plainest way.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpu/convolution.h"
#include "cpu/grid.h"

double silu(double x);

// Convolution of `in` [height, width, inputs] with weights [kernel, kernel, inputs, patch * patch * outputs]; `scale` and `shift`
// may be empty, `plus` null. The fields of shadowdiffusion::Convolution of the same names say the rest.
struct Layer {
    std::size_t kernel = 3, step = 1;
    bool doubled = false;
    shadowdiffusion::Activation activation = shadowdiffusion::Activation::none;
    std::span<const float> weights, bias, scale, shift;
    const Grid* plus = nullptr;
    double epsilon = 0;
    std::size_t patch = 1;
};
Grid convolve(const Grid& in, const Layer& layer);

// Each pixel less its mean, over its deviation.
Grid standardised(const Grid& in, double epsilon);

// a * b, the halves of `in` after a kernel of 3x3 for each channel: weights [3, 3, channels].
Grid gate_depthwise(const Grid& in, std::span<const float> weights, std::span<const float> bias);

// Weights [inputs, outputs], and what is added.
struct Matrix {
    std::span<const float> weights, bias;
};
Grid multiplied(const Grid& in, const Matrix& by);

// s = plus + project (scale in), then s + contract (first n * second n), n = s standardised.
struct Matrices {
    Matrix project, first, second, contract;
};
Grid apply_pointwise(const Grid& in, const Grid& plus, std::span<const double> scale, const Matrices& by, double epsilon);

// The mean of each channel over all pixels.
std::vector<double> means_of(const Grid& in);

// softmax(q k^T scale) v over all pixels.
Grid attend(const Grid& query, const Grid& key, const Grid& value, double scale);
