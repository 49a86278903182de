// The closed-form updates that tie the diffusion estimate to the degradation model y = h x, as in
// runtime/loop/prior_update.py: ShadowDiffusion (CVPR 2023), supplement Eq. A, 13 and 14.
#pragma once

#include "bundle/manifest.h"
#include "fields.h"
#include "workers.h"

namespace shadowdiffusion {

inline constexpr float CONFIDENT = 0.9f;  // a mask value from which a pixel counts as surely degraded

// h = clamp((y + photo_epsilon) / (clean + epsilon), floor, ceiling): how much darker y is than the clean photo.
void illumination(ConstPlanes y, ConstPlanes clean, const Illumination& limits, Planes h, Workers& workers);

// 1 where the prior's matte reaches `threshold`, else 0: the shadow when nobody has drawn it. `mask` may be `matte`.
void confident_mask(ConstPlanes matte, double threshold, Planes mask);

// Eq. 14: m = (sum_c (1 - w_c)(1 - h_c) + rho v) / (sum_c (1 - w_c)^2 + rho), clamped to [0, 1], into `predicted`.
// v is the predicted mask and w_c the mean of h_c over confident shadow, where the photo's own `mask` is at least
// CONFIDENT; m = v if there is none. Needs rho > 0.
void closed_form_mask(ConstPlanes h, ConstPlanes mask, double rho, Planes predicted, Workers& workers);

// One step of the sampler in its closed form, element by element, into x:
//   z = (x - noise_scale e) / signal_scale, clamped to [-1, 1] if `clamp`; z = A + B z if `rho` (Eq. 13), with
//   A = (2 h y - h^2) / (h^2 + rho) and B = rho / (h^2 + rho); unless last, x = next z + direction e + sigma f.
struct StepScales {
    float noise_scale, signal_scale;
    bool clamp = false, consistent = false, last = false;
    float rho = 0;
    float next = 0, direction = 0, sigma = 0;
};

// fresh: noise f, absent where sigma is 0. y in [0, 1].
void update_state(Planes x, ConstPlanes e, ConstPlanes y, ConstPlanes h, ConstPlanes fresh, const StepScales& scales,
                  Workers& workers);

// x = noise_scale n + signal_scale (2 clean - 1) into n: the sampler's state where it starts from the prior.
void start_state(Planes noise, ConstPlanes clean, float noise_scale, float signal_scale, Workers& workers);

// 2 y - 1.
void to_signed(ConstPlanes y, Planes out, Workers& workers);

// (x + 1) / 2, clamped to [0, 1], in place.
void to_unit(Planes x, Workers& workers);

}  // namespace shadowdiffusion
