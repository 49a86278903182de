#include "photo/truncation.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace shadowdiffusion {
namespace {

using View = std::span<const std::uint8_t>;

std::size_t big_endian(View bytes) {
    std::size_t value = 0;
    for (const std::uint8_t byte : bytes) value = value << 8 | byte;
    return value;
}

// A chunk has its length and name before its data, and a checksum behind it; the last one is IEND.
bool lacks_last_chunk(View file) {
    for (std::size_t chunk = 8; chunk + 12 <= file.size(); chunk += big_endian(file.subspan(chunk, 4)) + 12)
        if (std::ranges::equal(file.subspan(chunk + 4, 4), std::string_view("IEND"))) return false;
    return true;
}

// Segments with their length lead up to the first scan (SOS); the end (EOI) is behind it, where 0xff is always the
// beginning of a mark.
bool lacks_end_of_image(View file) {
    std::size_t segment = 2;
    while (segment + 4 <= file.size() && file[segment] == 0xff && file[segment + 1] != 0xda) {
        const bool is_fill = file[segment + 1] == 0xff;
        segment += is_fill ? 1 : 2 + big_endian(file.subspan(segment + 2, 2));
    }
    if (segment > file.size()) return true;
    constexpr std::array<std::uint8_t, 2> end{0xff, 0xd9};
    const View rest = file.subspan(segment);
    return std::search(rest.begin(), rest.end(), end.begin(), end.end()) == rest.end();
}

}  // namespace

bool is_cut_short(View file, Format form) {
    return (form == Format::png && lacks_last_chunk(file)) || (form == Format::jpeg && lacks_end_of_image(file));
}

}  // namespace shadowdiffusion
