// The sums that kernels make of their outputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "cpu/grid.h"

// How wrong sums [2, channels] of outputs and of their squares are, of what was added up; the worst of them.
inline double error_of_sums(std::span<const double> made, const Grid& outputs) {
    std::vector<double> sums(2 * outputs.channels), sizes(2 * outputs.channels);
    for (std::size_t i = 0; i < outputs.values.size(); ++i) {
        const std::size_t c = i % outputs.channels;
        const double value = outputs.values[i];
        sums[c] += value, sizes[c] += std::abs(value);
        sums[outputs.channels + c] += value * value, sizes[outputs.channels + c] += value * value;
    }
    double worst = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
        const double error = std::abs(made[i] - sums[i]) / sizes[i];
        if (!(error <= worst)) worst = error;  // NaN, too
    }
    return worst;
}
