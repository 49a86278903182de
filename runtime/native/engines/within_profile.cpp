#include "engines/within_profile.h"

#include "engines/fit.h"
#include "loop/padding.h"
#include "text.h"

namespace shadowdiffusion {

Working WithinProfile::restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) {
    return loop_for(image).restore(image, mask, wanted, arena);
}

std::vector<Working> WithinProfile::restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena) {
    return loop_for(images[0].image).restore_many(images, wanted, arena);
}

Loop& WithinProfile::loop_for(ConstPlanes image) {
    const Size size{rounded_up(image.height, multiple_), rounded_up(image.width, multiple_)};
    if (covers(key_, size)) return *engine_;
    const std::lock_guard lock(mutex_);
    if (!others_) {
        others_ = open_();
        say_(text(size.second, "x", size.first, " pixels are outside the profile ", key_.profile, " (height x width) of ",
                  title(), ": using ", others_->title()));
    }
    return *others_;
}

}  // namespace shadowdiffusion
