// From a working image to a restored one: the prior, the mask and the diffusion.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "arena.h"
#include "backends/networks.h"
#include "bundle/manifest.h"
#include "fields.h"
#include "restorer.h"

namespace shadowdiffusion {

// What a loop makes of a working image; memory of the arena.
struct Working {
    Planes image;         // the restored image in [0, 1]
    Planes clean;         // the degradation prior's estimate
    Planes mask;          // the shadow mask as the mask head refined it last, in [0, 1]; absent unless asked for
    Planes illumination;  // h = y / clean of the prior, limited
    double prior_seconds = 0, diffusion_seconds = 0;
    std::optional<Size> tile;  // of the tiles that the networks ran on, if they did
};

// What a photo is restored with.
struct Wanted {
    std::span<const Step> table;
    std::uint64_t seed = 0;
    bool with_mask = false;
    const Progress* progress = nullptr;
    const Warn* warn = nullptr;
};

// Runs the whole method at the working size. Calls may come from any thread.
class Loop {
  public:
    virtual ~Loop() = default;

    // What runs the networks by themselves.
    virtual Networks& networks() = 0;

    // What runs it, and on which device, for people.
    const std::string& title() { return networks().title(); }

    // Restore an image [3, h, w] in [0, 1] of any size; mask: [1, h, w] in [0, 1], absent where the prior is to find the
    // shadow. Throws RestoreError.
    virtual Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) = 0;
};

}  // namespace shadowdiffusion
