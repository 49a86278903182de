// What travels with the pixels from file to file, as libvips holds it: ICC profile, EXIF, XMP, IPTC, comments.
// Twin of runtime/photo/metadata.py.
//
// What the format of a result has no place for is left out: IPTC in PNG and WebP, XMP beyond 64 KiB in JPEG. EXIF
// beyond 64 KiB is left out everywhere (libexif).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "photo/formats.h"
#include "photo/vips.h"

namespace shadowdiffusion {

inline constexpr const char* ICC = "icc-profile-data";
inline constexpr const char* EXIF = "exif-data";

struct MetadataField {
    bool is_text = false;
    std::vector<std::uint8_t> value;
};
// libvips fields by name.
using Metadata = std::map<std::string, MetadataField>;

// The fields of a decoded image that are to travel.
Metadata read_metadata(VipsImage* image);

// Set the fields on an image that is about to be saved. Throws vips::Failure.
void attach(VipsImage* image, const Metadata& metadata, Format form);

}  // namespace shadowdiffusion
