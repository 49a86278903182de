// The schedule as the GPU kernels read it: a float row of eight numbers per denoiser evaluation. Twin of
// runtime/gpu/step_table.py:
//
//     0  sqrt(1 - alpha_bar)       1  1 / sqrt(alpha_bar)
//     2  sqrt(alpha_bar_next)      3  sqrt(1 - alpha_bar_next - sigma^2)
//     4  sigma                     5  rho
//     6  limit of |z|, or infinity  7  1 if the next evaluation sees the refined mask, 0 if the photo's own
#pragma once

#include <array>
#include <span>
#include <vector>

#include "bundle/manifest.h"

namespace shadowdiffusion {

using StepRow = std::array<float, 8>;

// In running order.
std::vector<StepRow> step_table(const Sampling& sampling, std::span<const Step> table);

}  // namespace shadowdiffusion
