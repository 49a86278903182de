#include "cpu/planes.h"

#include <cmath>

namespace shadowdiffusion {

void gather_row(std::span<const float* const> planes, std::size_t patch, const Channels& to, std::size_t y) {
    const std::size_t width = to.width * patch;
    std::size_t channel = 0;
    for (const float* plane : planes)
        for (std::size_t i = 0; i < patch; ++i)
            for (std::size_t j = 0; j < patch; ++j, ++channel) {
                const float* from = plane + (y * patch + i) * width + j;
                float* pixels = to.channel(channel) + y * to.width * LANES;
                for (std::size_t x = 0; x < to.width; ++x) pixels[x * LANES] = from[x * patch];
            }
    for (; channel < to.channels; ++channel) {
        float* pixels = to.channel(channel) + y * to.width * LANES;
        for (std::size_t x = 0; x < to.width; ++x) pixels[x * LANES] = 0;
    }
}

void scatter_row(const Channels& from, std::size_t patch, bool squashed, std::span<float* const> planes, std::size_t y) {
    const std::size_t width = from.width * patch;
    std::size_t channel = 0;
    for (float* plane : planes)
        for (std::size_t i = 0; i < patch; ++i)
            for (std::size_t j = 0; j < patch; ++j, ++channel) {
                const float* pixels = from.channel(channel) + y * from.width * LANES;
                float* to = plane + (y * patch + i) * width + j;
                for (std::size_t x = 0; x < from.width; ++x) {
                    const float value = pixels[x * LANES];
                    to[x * patch] = squashed ? 1 / (1 + std::exp(-value)) : value;
                }
            }
}

}  // namespace shadowdiffusion
