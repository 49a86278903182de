// Which mask belongs to which photo. Twin of runtime/batch/masks.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "batch/plan.h"

namespace shadowdiffusion {

// The masks that the command line names: one file, or a folder with one for each photo. May be used by several threads.
class Masks {
  public:
    // Throws RestoreError if there is nothing at `where`, or a single mask for several photos.
    Masks(std::string where, std::size_t photos);

    // The mask file: in a folder of masks the one with the photo's name and any extension, or the one that was saved
    // for it as NAME.mask.EXT, below the same folders as the photo. Throws PhotoError unless it is clear.
    std::string of(const Job& job) const;

  private:
    std::string where_;
    bool is_folder_;
};

}  // namespace shadowdiffusion
