// Small photos to test with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "photo/formats.h"
#include "photo/image.h"
#include "photo/vips.h"

namespace shadowdiffusion {

inline constexpr Format FORMATS[] = {Format::png, Format::jpeg, Format::webp, Format::tiff};
inline constexpr Format LOSSLESS[] = {Format::png, Format::tiff};

// Values all over the range, in no order; with alpha for 2 and 4 bands in all.
Photo picture(std::size_t height, std::size_t width, PixelType type = PixelType::uint8, std::size_t bands = 3);

// The same with values that lossy formats keep nearly: flat areas of 8x8.
Photo blocks(std::size_t height, std::size_t width, std::size_t bands = 3);

// The photo as libvips saves it when its orientation tag is set to `orientation`, without our code.
std::vector<std::uint8_t> saved_by_libvips(const Photo& photo, Format form, int orientation);

// The mean distance of two photos of one shape, in units of their integers.
double distance(const Photo& one, const Photo& two);

// An EXIF block, little- or big-endian, with make, artist in Latin-1, orientation, exposure time, maker note and place.
std::vector<std::uint8_t> exif_block(bool little, std::uint16_t orientation = 1);

// A JPEG file with this EXIF block.
std::vector<std::uint8_t> jpeg_with_exif(const Photo& photo, const std::vector<std::uint8_t>& block);

bool operator==(const Pixels& one, const Pixels& two);

}  // namespace shadowdiffusion
