// A decoded photo: pixels in the file's own colours, and everything that travels with them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "photo/metadata.h"
#include "photo/pixels.h"

namespace shadowdiffusion {

struct Photo {
    Pixels pixels;  // upright; 8 or 16 bits, 1 band (grey) or 3
    Pixels alpha;   // one band of the same type, carried over untouched; no bytes if there is none
    Metadata metadata;
    double horizontal_resolution = 1, vertical_resolution = 1;  // pixels per millimetre
    // The ICC profile that says what colours the pixels are; empty for sRGB, which may have a profile in `metadata`.
    std::vector<std::uint8_t> profile;
    std::string warning;  // what the user should know of how it was read; "" if nothing
};

}  // namespace shadowdiffusion
