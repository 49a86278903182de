// The example that travels with a bundle: an input, and what the reference sampler made of it at export.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bundle/bundle.h"
#include "fields.h"

namespace shadowdiffusion {

inline constexpr double GOLDEN_TOLERANCE = 50;  // PSNR in dB that a healthy installation reaches

// A working image and mask in [0, 1], and x, what the reference sampler made of them, in [0, 1].
struct Golden {
    std::vector<float> image, mask, x;
    Size size;
    std::uint64_t seed;
    std::int64_t steps;
};

// Throws BundleError when the files are absent or unreadable.
Golden read_golden(const Bundle& bundle);

// Peak signal-to-noise ratio in dB of images in [0, 1]; infinite where they are equal.
double psnr(std::span<const float> result, std::span<const float> reference);

}  // namespace shadowdiffusion
