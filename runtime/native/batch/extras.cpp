#include "batch/extras.h"

#include <algorithm>
#include <cmath>

#include "arena.h"
#include "full_size/resizing.h"
#include "workers.h"

namespace shadowdiffusion {
namespace {

constexpr std::size_t GAP = 8;         // white pixels between the halves of a comparison
constexpr std::size_t WIDEST = 65535;  // pixels that JPEG allows
constexpr float UNCHANGED = 32768, PER_STOP = 4096;

void append(std::vector<std::byte>& bytes, const std::byte* first, std::size_t count) {
    bytes.insert(bytes.end(), first, first + count);
}

}  // namespace

Photo comparison(const Photo& photo, const Pixels& restored) {
    const Pixels& before = photo.pixels;
    const bool sideways = 2 * before.width + GAP <= WIDEST;
    Photo picture;
    Pixels& both = picture.pixels;
    both.type = before.type, both.height = before.height, both.width = before.width, both.bands = before.bands;
    (sideways ? both.width : both.height) = 2 * (sideways ? before.width : before.height) + GAP;
    both.bytes.reserve(both.height * both.stride());
    // both are joined row by row, or as if each were a single row
    const std::size_t rows = sideways ? before.height : 1, row = before.bytes.size() / rows;
    const std::size_t gap = both.height * both.stride() / rows - 2 * row;
    for (std::size_t y = 0; y < rows; ++y) {
        append(both.bytes, before.bytes.data() + y * row, row);
        both.bytes.insert(both.bytes.end(), gap, std::byte{255});  // white, of 8 bits or 16
        append(both.bytes, restored.bytes.data() + y * row, row);
    }
    if (const auto icc = photo.metadata.find(ICC); icc != photo.metadata.end()) picture.metadata.insert(*icc);
    return picture;
}

Photo mask_picture(std::span<const float> mask, std::size_t height, std::size_t width) {
    Photo picture;
    picture.pixels.shape(PixelType::uint8, height, width, 1);
    std::ranges::transform(mask, picture.pixels.bytes.begin(),
                           [](float value) { return static_cast<std::byte>(std::nearbyint(value * 255.0f)); });
    return picture;
}

Photo illumination_picture(std::span<const float> illumination, Size working, Size whole) {
    const auto [height, width] = whole;
    std::vector<float> small(illumination.size()), large(working == whole ? 0 : height * width * 3);
    std::ranges::transform(illumination, small.begin(), [](float value) { return std::log2(value); });
    if (working != whole) {
        Arena arena;
        Workers alone(1);
        enlarged({small, working.first, working.second, 3}, {large, height, width, 3}, arena, alone);
    }
    Photo picture;
    picture.pixels.shape(PixelType::uint16, height, width, 3);
    std::uint16_t* const numbers = picture.pixels.view().row<std::uint16_t>(0);
    std::ranges::transform(working == whole ? small : large, numbers, [](float stops) {
        return static_cast<std::uint16_t>(std::nearbyint(std::clamp(UNCHANGED + PER_STOP * stops, 0.0f, 65535.0f)));
    });
    return picture;
}

}  // namespace shadowdiffusion
