// Images extended to multiples of what the networks need, and cut back.
#pragma once

#include "fields.h"

namespace shadowdiffusion {

// The multiple at or above `length`.
constexpr std::size_t rounded_up(std::size_t length, std::size_t multiple) {
    return (length + multiple - 1) / multiple * multiple;
}

// Extend right and below into `padded`, mirrored; repeated edges where too short to mirror.
void pad(ConstPlanes image, Planes padded);

// The upper left corner of `padded`, of the size of `image`.
void crop(ConstPlanes padded, Planes image);

}  // namespace shadowdiffusion
