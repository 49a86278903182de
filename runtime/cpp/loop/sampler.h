// The whole diffusion: DDIM (Song et al. 2021) with the data-consistent update of each estimate, as in
// runtime/loop/sampler.py: ShadowDiffusion (CVPR 2023), Algorithm and Eqs 13-14.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "arena.h"
#include "backends/networks.h"
#include "bundle/manifest.h"
#include "workers.h"

namespace shadowdiffusion {

inline constexpr double LATE = 0.2;  // policy "late" shows predicted masks only to evaluations at t below this share of T

// What the sampler is given: y [3, H, W] in [0, 1], its mask, illumination h, and the prior's clean image in [0, 1].
struct Degraded {
    ConstPlanes y, mask, h, clean;
};

// Restore `given` into x [3, H, W], about [-1, 1], and the last refined mask into `refined` [1, H, W], unless absent.
// `report(done)` is called after each step and throws to end.
void sample(Networks& networks, const Degraded& given, std::uint64_t seed, const Sampling& sampling,
            std::span<const Step> table, Planes x, Planes refined, const std::function<void(int)>& report, Arena& arena,
            Workers& workers);

// Whether the denoiser sees the refined mask at this step instead of the first one.
bool reads_refined(const Sampling& sampling, const Step& step);

}  // namespace shadowdiffusion
