// Photos from the bytes of a file: refused by their header where they are too large or of an unsupported kind, and
// whole or not at all otherwise. Twin of runtime/photo/reading.py.
//
// Pixels stay in the colours of the file, but an EXIF orientation is applied to them, once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "photo/image.h"

namespace shadowdiffusion {

// Photos with more pixels than this are refused before they are decoded.
inline constexpr std::size_t MAX_PIXELS = 200'000'000;

// Decode a photo. `name` is what messages call it. Throws PhotoError for anything that is not a whole, supported image
// of acceptable size; a colour profile that cannot be used is left out, with a warning in the photo.
Photo read_photo(std::span<const std::uint8_t> file, std::string_view name, std::size_t max_pixels = MAX_PIXELS);

}  // namespace shadowdiffusion
