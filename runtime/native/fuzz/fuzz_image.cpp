// Any bytes as a photo: it is refused with a PhotoError, or can be written and read again, pixel by pixel.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "errors.h"
#include "photo/encoding.h"
#include "photo/reading.h"
#include "photo/vips.h"

using namespace shadowdiffusion;

namespace {

constexpr std::size_t MOST_PIXELS = 1 << 16;  // larger ones take time and find nothing

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    vips::use_threads(1);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        const Photo photo = read_photo(std::span(data, size), "it", MOST_PIXELS);
        const auto file = encode_photo(photo, Format::tiff, {}, "encode it");
        const Photo again = read_photo(file, "it again", MOST_PIXELS);
        if (again.pixels.bytes != photo.pixels.bytes || again.alpha.bytes != photo.alpha.bytes) std::abort();
    } catch (const PhotoError&) {
    }
    return 0;
}
