// Files that are cut short where libvips 8.14 does not notice: it may return their last rows as it likes.
#pragma once

#include <cstdint>
#include <span>

#include "photo/formats.h"

namespace shadowdiffusion {

// Whether a PNG or JPEG file lacks the mark of its end.
bool is_cut_short(std::span<const std::uint8_t> file, Format form);

}  // namespace shadowdiffusion
