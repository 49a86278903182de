// Networks on overlapping tiles, for images that do not fit into memory in one piece. Twin of
// runtime/loop/tiles.py, which says why, and what it costs.
#pragma once

#include <string>
#include <vector>

#include "backends/networks.h"

namespace shadowdiffusion {

inline constexpr std::size_t OVERLAP = 64;  // pixels that tiles of twice that and more share with a neighbour at least

// A tile of one axis: where it begins, and the weight of each of its pixels.
struct Span {
    std::size_t begin;
    std::vector<float> weights;
};

// How many tiles an axis needs.
std::size_t tile_count(std::size_t length, std::size_t tile);

// Evenly spread tiles of one axis. All are of the same length, at least two multiples, and begin at multiples. They
// overlap by OVERLAP or more, half a tile at most, give or take the rounding to multiples. Weights fade to 0 at the end
// of a tile, where networks know least, but not at that of the image, and add up to 1 everywhere.
std::vector<Span> spans(std::size_t length, std::size_t tile, std::size_t multiple);

// Networks that run others on tiles of at most `tile`. For images of one size, one call at a time.
class TiledNetworks final : public Networks {
  public:
    // multiple: of which the sizes of tiles and images are multiples. `networks` must outlive this.
    TiledNetworks(Networks& networks, Size whole, Size tile, std::size_t multiple);

    const std::string& title() const override { return title_; }
    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override;
    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                 Planes shadow) override;

  private:
    template <class Run>
    void over_tiles(std::initializer_list<ConstPlanes> inputs, std::initializer_list<Planes> outputs, const Run& run);

    Networks& networks_;
    std::string title_;
    std::vector<Span> rows_, columns_;
    std::size_t height_, width_;  // of a tile
    std::vector<float> memory_;   // of the inputs and outputs of one tile
};

}  // namespace shadowdiffusion
