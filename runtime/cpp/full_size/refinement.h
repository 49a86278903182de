// The gain of light at a finer grid than the networks saw it on: shadow borders as sharp as the photo says.
// Back-projection (Irani & Peleg 1991), as in runtime/gain/refinement.py.
#pragma once

#include "arena.h"
#include "fields.h"
#include "pixels.h"
#include "workers.h"

namespace shadowdiffusion {

// The log gain [h, w, C] of a photo on a finer grid where the photo has one, else `gain` itself. Memory of the arena.
ConstField refined(const ImageView& photo, ConstField gain, Arena& arena, Workers& workers);

}  // namespace shadowdiffusion
