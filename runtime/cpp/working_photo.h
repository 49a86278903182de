// A photo on its way: reduced to the working size before the networks, carried back to its own size after them.
#pragma once

#include "arena.h"
#include "clock.h"
#include "fields.h"
#include "loop/loop.h"
#include "pixels.h"
#include "restorer.h"
#include "workers.h"

namespace shadowdiffusion {

// A photo and its mask at the working size, in memory of the arena.
class WorkingPhoto {
  public:
    // The size of a photo whose long side is to be `long_side` at most.
    static Size size_of(Size whole, std::size_t long_side);

    // Throws PhotoError for a mask that does not fit the photo.
    WorkingPhoto(const ImageView& photo, const ImageView* mask, Size size, Arena& arena, Workers& workers);

    // What the networks see: [3, h, w] in [0, 1], sRGB; and the mask [1, h, w], absent where there is none.
    ConstPlanes planes() const { return planes_; }
    ConstPlanes mask() const { return mask_; }

    // What a loop made of it, at the photo's own size.
    Run carry(const Working& found, double strength, const Targets& targets);

  private:
    Field field(std::size_t channels) const;
    ConstField own_bands(ConstField colours) const;
    void carry_picture(ConstPlanes restored, double strength, const MutableImageView& target);

    ImageView photo_;
    Size size_;
    Arena& arena_;
    Workers& workers_;
    Field small_, seen_;  // at the working size: with the photo's bands, and with three
    Planes planes_, mask_;
    double seconds_ = 0;
};

}  // namespace shadowdiffusion
