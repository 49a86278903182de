// Adobe RGB (1998), for cameras that name it in EXIF and embed no profile: interoperability index R03 of DCF 2.0.
// Twin of runtime/photo/adobe_rgb.py.
#pragma once

#include <cstdint>
#include <vector>

#include "photo/vips.h"

namespace shadowdiffusion {

// Whether the EXIF of a libvips image says that its colours are Adobe RGB.
bool says_adobe_rgb(VipsImage* image);

// An ICC profile (ICC.1:2001-04, version 2.4) of the smallest kind: primaries and the power of the curve.
std::vector<std::uint8_t> adobe_rgb();

}  // namespace shadowdiffusion
