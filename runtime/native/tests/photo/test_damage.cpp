// Photos that are cut short or have changed bytes: refused, or read whole.

#include <doctest/doctest.h>

#include <random>
#include <string>

#include "errors.h"
#include "photo/adobe_rgb.h"
#include "photo/encoding.h"
#include "photo/reading.h"
#include "pictures.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

std::vector<std::uint8_t> encoded(Format form, PixelType type, std::size_t bands) {
    Photo photo = picture(24, 17, type, bands);
    if (bands == 3) photo.metadata[ICC] = {false, adobe_rgb()};
    photo.metadata[EXIF] = {false, exif_block(true)};
    return encode_photo(photo, form, {}, "encode");
}

// Whether it is read, and not refused in one line.
bool is_read(std::span<const std::uint8_t> data, Photo& photo) {
    try {
        photo = read_photo(data, "it");
        return true;
    } catch (const PhotoError& error) {
        CHECK(std::string_view(error.what()).find('\n') == std::string_view::npos);
        return false;
    }
}

}  // namespace

TEST_CASE("a photo that is cut short is read whole or refused") {
    for (const Format form : FORMATS)
        for (const std::size_t bands : {1u, 3u, 4u}) {
            if (form == Format::jpeg && bands == 4) continue;
            CAPTURE(text(name_of(form), " ", bands));
            const auto data = encoded(form, PixelType::uint8, bands);
            const Photo whole = read_photo(data, "it");
            Photo found;
            for (std::size_t length = 0; length < data.size(); length += 9)
                if (is_read(std::span(data).first(length), found)) {
                    CHECK(found.pixels == whole.pixels);
                    CHECK(found.alpha == whole.alpha);
                }
        }
}

TEST_CASE("a photo with changed bytes is refused, or can be written again") {
    std::mt19937 chance(7);
    std::size_t read = 0, tried = 0;
    for (const Format form : FORMATS)
        for (const PixelType type : {PixelType::uint8, PixelType::uint16}) {
            if (is_lossy(form) && type == PixelType::uint16) continue;
            const auto data = encoded(form, type, 3);
            for (int round = 0; round < 60; ++round, ++tried) {
                auto damaged = data;
                for (std::size_t changes = 1 + chance() % 5; changes > 0; --changes)
                    damaged[chance() % damaged.size()] ^= static_cast<std::uint8_t>(1u << chance() % 8);
                Photo photo;
                if (!is_read(damaged, photo)) continue;
                ++read;
                const Photo again = read_photo(encode_photo(photo, Format::png, {}, "encode"), "it");
                CHECK(again.pixels == photo.pixels);
            }
        }
    CHECK(read > 0);
    CHECK(read < tried);
}
