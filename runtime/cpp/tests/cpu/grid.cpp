#include "cpu/grid.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace shadowdiffusion;

FloatMap::FloatMap(std::size_t height, std::size_t width, std::size_t channels)
    : memory_(height * width * channels), channels_{memory_.data(), height, width, channels} {
    std::ranges::fill(values(), std::numeric_limits<float>::quiet_NaN());
}

Grid FloatMap::grid() const {
    Grid made(channels_.height, channels_.width, channels_.channels);
    for (std::size_t i = 0; i < channels_.area(); ++i)
        for (std::size_t c = 0; c < made.channels; ++c)
            made.values[i * made.channels + c] = static_cast<double>(channels_.channel(c)[i * LANES]);
    return made;
}

void Numbers::fill(std::span<float> values, float mean, float deviation) {
    std::normal_distribution<float> of(mean, deviation);
    for (float& value : values) value = of(engine_);
}

std::vector<float> Numbers::some(std::size_t count, float mean, float deviation) {
    std::vector<float> made(count);
    fill(made, mean, deviation);
    return made;
}

std::span<const float> aligned(const std::vector<float>& values, Values& memory) {
    memory = Values(values.size());
    std::ranges::copy(values, memory.data());
    return {memory.data(), values.size()};
}

double relative_l2(std::span<const double> values, std::span<const double> right) {
    if (values.size() != right.size()) return std::numeric_limits<double>::quiet_NaN();
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        difference += (values[i] - right[i]) * (values[i] - right[i]);
        norm += right[i] * right[i];
    }
    return std::sqrt(difference / norm);
}
