// EXIF in TIFF, which libvips neither reads nor writes. Twin of runtime/photo/tiff_exif.py, which explains it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shadowdiffusion {

// The EXIF block of a TIFF file, as JPEG would have it; empty if there is none that makes sense.
std::vector<std::uint8_t> read_exif(std::span<const std::uint8_t> file);

// Put the tags of an EXIF block into a TIFF file that libvips wrote: a new first folder at its end replaces the old
// one. A block that makes no sense is left out.
void insert_exif(std::vector<std::uint8_t>& file, std::span<const std::uint8_t> block);

// What an EXIF block says of how the camera was held, 1 (upright) to 8; 1 also where it says nothing.
int orientation_in(std::span<const std::uint8_t> block);

}  // namespace shadowdiffusion
