// From a working image to a restored one: the prior, the mask and the diffusion.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

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

// An image [3, h, w] in [0, 1] of any size, and its mask [1, h, w] in [0, 1]; where that is absent, the prior finds the
// shadow.
struct WorkingImage {
    ConstPlanes image, mask;
};

// Runs the whole method at the working size. Calls may come from any thread.
class Loop {
  public:
    virtual ~Loop() = default;

    // What runs the networks by themselves.
    virtual Networks& networks() = 0;

    // What runs it, and on which device, for people.
    const std::string& title() { return networks().title(); }

    // Restore an image, as `WorkingImage`. Throws RestoreError.
    virtual Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) = 0;

    // Restore images of one size, all with masks or all without, each as it would be alone, bit for bit. Here they come
    // one after the other; progress counts the steps of all. Throws RestoreError.
    virtual std::vector<Working> restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena);
};

}  // namespace shadowdiffusion
