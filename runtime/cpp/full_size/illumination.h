// The change of light between two images, in linear light, where a shadow is a plain factor.
#pragma once

#include <span>

#include "fields.h"
#include "workers.h"

namespace shadowdiffusion {

// Added to both images before dividing, linear light: a third of the first 8-bit step, so black has a finite gain.
inline constexpr float FLOOR = 1e-4f;
// Limits of the log gain. The deepest shadows need about 15, low-light photographs up to about 100.
inline constexpr float LOWEST = -2.772588722239781f, HIGHEST = 4.852030263919617f;  // log 1/16 and log 128

// sRGB-encoded in [0, 1] -> linear light in [0, 1] (IEC 61966-2-1), and its inverse; `out` may be the input.
void to_linear(std::span<const float> encoded, std::span<float> out);
void to_encoded(std::span<const float> linear, std::span<float> out);

// log((restored + FLOOR) / (degraded + FLOOR)) in linear light, limited; both sRGB-encoded in [0, 1].
void log_gain(ConstField degraded, ConstField restored, Field gain, Workers& workers);

// exp(-gain): what the photo's light is of the restored one's.
void inverse_gain(ConstField gain, std::span<float> out, Workers& workers);

}  // namespace shadowdiffusion
