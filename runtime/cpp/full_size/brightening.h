// The photo at its own size, brightened by what was found at the working size: its texture is never resampled. As in
// runtime/gain/brightening.py.
#pragma once

#include "arena.h"
#include "fields.h"
#include "pixels.h"
#include "workers.h"

namespace shadowdiffusion {

// The photo brightened by a log gain into `result`, of the same shape and type, which may be the photo itself.
// small, gain: the photo at the working size, encoded, in [0, 1], and the gain of its light there, both [h, w, C].
// strength: the factor of the log gain, in [0, 1]; 0 gives a copy of the photo.
void brighten(const ImageView& photo, ConstField small, ConstField gain, float strength, const MutableImageView& result,
              Arena& arena, Workers& workers);

}  // namespace shadowdiffusion
