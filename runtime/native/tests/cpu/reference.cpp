#include "cpu/reference.h"

#include <algorithm>
#include <cmath>

using namespace shadowdiffusion;

namespace {

double activated(double x, Activation activation) {
    switch (activation) {
        case Activation::none: return x;
        case Activation::relu: return std::max(x, 0.0);
        case Activation::silu: return silu(x);
    }
    return x;
}

}  // namespace

double silu(double x) { return x / (1 + std::exp(-x)); }

Grid convolve(const Grid& in, const Layer& layer) {
    const std::size_t times = layer.doubled ? 2 : 1, outputs = layer.bias.size();
    Grid input(in.height * times, in.width * times, in.channels);
    for (std::size_t y = 0; y < input.height; ++y)
        for (std::size_t x = 0; x < input.width; ++x)
            for (std::size_t c = 0; c < in.channels; ++c) {
                double value = in.pixel(y / times, x / times)[c];
                if (!layer.scale.empty()) value = value * static_cast<double>(layer.scale[c]) + static_cast<double>(layer.shift[c]);
                input.pixel(y, x)[c] = activated(value, layer.activation);
            }
    const std::vector<double> weights(layer.weights.begin(), layer.weights.end());
    Grid out((input.height + layer.step - 1) / layer.step, (input.width + layer.step - 1) / layer.step, outputs);
    for (std::size_t y = 0; y < out.height; ++y)
        for (std::size_t x = 0; x < out.width; ++x) {
            double* to = out.pixel(y, x);
            for (std::size_t k = 0; k < outputs; ++k)
                to[k] = static_cast<double>(layer.bias[k]) + (layer.plus ? layer.plus->pixel(y, x)[k] : 0.0);
            for (std::size_t tap = 0; tap < layer.kernel * layer.kernel; ++tap) {
                const std::size_t row = y * layer.step + tap / layer.kernel, column = x * layer.step + tap % layer.kernel;
                const std::size_t margin = layer.kernel / 2;
                if (row < margin || row - margin >= input.height || column < margin || column - margin >= input.width) continue;
                const double* from = input.pixel(row - margin, column - margin);
                const double* weight = weights.data() + tap * in.channels * outputs;
                for (std::size_t c = 0; c < in.channels; ++c)
                    for (std::size_t k = 0; k < outputs; ++k) to[k] += from[c] * weight[c * outputs + k];
            }
        }
    return out;
}

Grid attend(const Grid& query, const Grid& key, const Grid& value, double scale) {
    Grid out(query.height, query.width, value.channels);
    const std::size_t pixels = key.height * key.width;
    std::vector<double> weights(pixels);
    for (std::size_t i = 0; i < query.height * query.width; ++i) {
        const double* q = query.values.data() + i * query.channels;
        for (std::size_t j = 0; j < pixels; ++j) {
            const double* k = key.values.data() + j * key.channels;
            weights[j] = 0;
            for (std::size_t c = 0; c < key.channels; ++c) weights[j] += q[c] * k[c] * scale;
        }
        const double largest = *std::ranges::max_element(weights);
        double sum = 0;
        for (double& weight : weights) sum += weight = std::exp(weight - largest);
        double* to = out.values.data() + i * value.channels;
        for (std::size_t j = 0; j < pixels; ++j)
            for (std::size_t c = 0; c < value.channels; ++c)
                to[c] += weights[j] / sum * value.values[j * value.channels + c];
    }
    return out;
}
