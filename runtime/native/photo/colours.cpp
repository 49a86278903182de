#include "photo/colours.h"

#include <algorithm>

#include "photo/pixels.h"

namespace shadowdiffusion {

void Colours::to_srgb(std::span<const float> own, std::size_t height, std::size_t width, std::size_t bands,
                      std::span<float> srgb) const {
    if (bands == 3) {
        std::ranges::copy(own, srgb.begin());
        return;
    }
    for (std::size_t i = 0; i < height * width; ++i) std::ranges::fill(srgb.subspan(3 * i, 3), own[i]);
}

void Colours::from_srgb(std::span<const float> srgb, std::size_t height, std::size_t width, std::size_t bands,
                        std::span<float> own) const {
    if (bands == 3) {
        std::ranges::copy(srgb, own.begin());
        return;
    }
    for (std::size_t i = 0; i < height * width; ++i)
        own[i] = srgb[3 * i] * LUMINANCE[0] + srgb[3 * i + 1] * LUMINANCE[1] + srgb[3 * i + 2] * LUMINANCE[2];
}

}  // namespace shadowdiffusion
