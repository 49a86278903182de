// The networks at the photo's own size: in one piece where that can be done, else on tiles as large as possible. Twin
// of runtime/loop/tiled_loop.py.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "backends/networks.h"
#include "bundle/bundle.h"
#include "forks.h"
#include "loop/loop.h"
#include "workers.h"

namespace shadowdiffusion {

inline constexpr std::size_t SMALLEST_TILE = 128;  // pixels: smaller ones see too little of a photo to be worth it
inline constexpr double MEMORY_SHARE = 0.8;        // of the memory that is there, so much is taken at most
inline constexpr double LOOP_BYTES = 350;          // per pixel of the photo, beside the networks: as the Python runtime

// Bytes per pixel that both networks take, an upper estimate from their numbers of parameters: that of the
// Python runtime, so that both choose the same tiles.
double network_bytes(const ModelInfo& model);

// A tile, and why it is not larger ("" if it is the whole image).
struct Choice {
    Size tile;
    std::string reason;
};

// The choice, or its largest half that fits into `free` bytes of memory. Throws OutOfMemoryError where not even the loop
// around the networks has room.
Choice fitting(Choice choice, Size whole, std::optional<std::int64_t> free, const ModelInfo& model);

// Twice as many tiles along the longer side, as evenly as can be; `tile` itself where they would be too small.
Size halved(Size tile, Size whole, std::size_t multiple);

// A loop over another one, for images at their own size, one at a time as each may fill the memory. Where one does not
// fit, it is run on tiles, and a warning says so. Where memory runs out all the same, tiles get smaller by half until it
// works. Images of one size keep their tile as long as it fits.
class NativeLoop final : public Loop {
  public:
    // All must outlive it; `loop` runs `networks`.
    NativeLoop(const Bundle& bundle, Networks& networks, Loop& loop, Workers& workers)
        : bundle_(bundle), networks_(networks), loop_(loop), workers_(workers) {}

    Networks& networks() override { return networks_; }

    // As `Loop`. Throws OutOfMemoryError where nothing helps.
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;

  private:
    const Choice& choice_for(Size whole, const Arena& arena);
    Working run(const Choice& choice, Size whole, ConstPlanes image, ConstPlanes mask, const Wanted& wanted,
                Arena& arena);
    Choice smaller(const Choice& choice, Size whole, const std::string& error) const;
    std::size_t multiple() const { return static_cast<std::size_t>(bundle_.manifest.model.multiple); }

    const Bundle& bundle_;
    Networks& networks_;
    Loop& loop_;
    Workers& workers_;
    AbandonedMutex turn_;
    std::map<Size, Choice> known_;
    std::int64_t held_ = 0;  // bytes that the networks keep for the next image
};

}  // namespace shadowdiffusion
