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
    const std::size_t times = layer.doubled ? 2 : 1, all = layer.bias.size(), outputs = all / (layer.patch * layer.patch);
    Grid input(in.height * times, in.width * times, in.channels);
    for (std::size_t y = 0; y < input.height; ++y)
        for (std::size_t x = 0; x < input.width; ++x)
            for (std::size_t c = 0; c < in.channels; ++c) {
                double value = in.pixel(y / times, x / times)[c];
                if (!layer.scale.empty()) value = value * static_cast<double>(layer.scale[c]) + static_cast<double>(layer.shift[c]);
                input.pixel(y, x)[c] = activated(value, layer.activation);
            }
    if (layer.epsilon > 0) input = standardised(input, layer.epsilon);
    const std::vector<double> weights(layer.weights.begin(), layer.weights.end());
    const std::size_t rows = (input.height + layer.step - 1) / layer.step, columns = (input.width + layer.step - 1) / layer.step;
    Grid out(rows * layer.patch, columns * layer.patch, outputs);
    std::vector<double> sums(all);
    for (std::size_t y = 0; y < rows; ++y)
        for (std::size_t x = 0; x < columns; ++x) {
            std::ranges::copy(layer.bias, sums.begin());
            for (std::size_t tap = 0; tap < layer.kernel * layer.kernel; ++tap) {
                const std::size_t row = y * layer.step + tap / layer.kernel, column = x * layer.step + tap % layer.kernel;
                const std::size_t margin = layer.kernel == 3 ? 1 : 0;
                if (row < margin || row - margin >= input.height || column < margin || column - margin >= input.width) continue;
                const double* from = input.pixel(row - margin, column - margin);
                const double* weight = weights.data() + tap * in.channels * all;
                for (std::size_t c = 0; c < in.channels; ++c)
                    for (std::size_t k = 0; k < all; ++k) sums[k] += from[c] * weight[c * all + k];
            }
            for (std::size_t k = 0; k < all; ++k) {
                const std::size_t place = k / outputs, i = y * layer.patch + place / layer.patch, j = x * layer.patch + place % layer.patch;
                out.pixel(i, j)[k % outputs] = sums[k] + (layer.plus ? layer.plus->pixel(i, j)[k % outputs] : 0.0);
            }
        }
    return out;
}

Grid standardised(const Grid& in, double epsilon) {
    Grid out = in;
    for (std::size_t i = 0; i < in.height * in.width; ++i) {
        const std::span<double> pixel(out.values.data() + i * in.channels, in.channels);
        double mean = 0, variance = 0;
        for (const double value : pixel) mean += value / static_cast<double>(in.channels);
        for (const double value : pixel) variance += (value - mean) * (value - mean) / static_cast<double>(in.channels);
        for (double& value : pixel) value = (value - mean) / std::sqrt(variance + epsilon);
    }
    return out;
}

Grid gate_depthwise(const Grid& in, std::span<const float> weights, std::span<const float> bias) {
    Grid both(in.height, in.width, in.channels);
    const auto at = [&](std::size_t y, std::size_t x, std::size_t c) {  // of the map with a border of zeros
        return y < 1 || y > in.height || x < 1 || x > in.width ? 0.0 : in.pixel(y - 1, x - 1)[c];
    };
    for (std::size_t y = 0; y < in.height; ++y)
        for (std::size_t x = 0; x < in.width; ++x)
            for (std::size_t c = 0; c < in.channels; ++c) {
                double& sum = both.pixel(y, x)[c] = static_cast<double>(bias[c]);
                for (std::size_t tap = 0; tap < 9; ++tap)
                    sum += at(y + tap / 3, x + tap % 3, c) * static_cast<double>(weights[tap * in.channels + c]);
            }
    Grid out(in.height, in.width, in.channels / 2);
    for (std::size_t y = 0; y < in.height; ++y)
        for (std::size_t x = 0; x < in.width; ++x)
            for (std::size_t c = 0; c < out.channels; ++c) out.pixel(y, x)[c] = both.pixel(y, x)[c] * both.pixel(y, x)[out.channels + c];
    return out;
}

Grid multiplied(const Grid& in, const Matrix& by) {
    return convolve(in, {.kernel = 1, .weights = by.weights, .bias = by.bias, .scale = {}, .shift = {}});
}

Grid apply_pointwise(const Grid& in, const Grid& plus, std::span<const double> scale, const Matrices& by, double epsilon) {
    Grid excited = in;
    for (std::size_t i = 0; i < excited.values.size(); ++i) excited.values[i] *= scale[i % in.channels];
    Grid out = multiplied(excited, by.project);
    for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] += plus.values[i];
    const Grid seen = standardised(out, epsilon);
    Grid gate = multiplied(seen, by.first);
    const Grid second = multiplied(seen, by.second);
    for (std::size_t i = 0; i < gate.values.size(); ++i) gate.values[i] *= second.values[i];
    const Grid contracted = multiplied(gate, by.contract);
    for (std::size_t i = 0; i < out.values.size(); ++i) out.values[i] += contracted.values[i];
    return out;
}

std::vector<double> means_of(const Grid& in) {
    std::vector<double> means(in.channels);
    const auto area = static_cast<double>(in.height * in.width);
    for (std::size_t i = 0; i < in.values.size(); ++i) means[i % in.channels] += in.values[i] / area;
    return means;
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
