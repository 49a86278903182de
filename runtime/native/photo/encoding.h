// Photos as the bytes of a file: in the best depth that the format holds, with everything that travels along. Twin of
// runtime/photo/encoding.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "photo/formats.h"
#include "photo/image.h"

namespace shadowdiffusion {

// The bytes of a file of format `form`.
//
// quality: 1 to 100, of JPEG and WebP only [95]. These hold 8 bits: 16-bit pixels are rounded. The PhotoError that is
// thrown where it cannot be says that `what` was impossible.
std::vector<std::uint8_t> encode_photo(const Photo& photo, Format form, std::optional<int> quality,
                                       const std::string& what);

}  // namespace shadowdiffusion
