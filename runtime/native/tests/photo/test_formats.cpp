// Every format, depth and number of bands, there and back; orientation; what is no photo.

#include <doctest/doctest.h>

#include "errors.h"
#include "photo/encoding.h"
#include "photo/reading.h"
#include "pictures.h"
#include "text.h"

using namespace shadowdiffusion;

TEST_CASE("lossless formats survive a round trip, and transparency is untouched") {
    for (const Format form : LOSSLESS)
        for (const PixelType type : {PixelType::uint8, PixelType::uint16})
            for (const std::size_t bands : {1u, 2u, 3u, 4u}) {
                CAPTURE(text(name_of(form), " ", size_of(type), " ", bands));
                const Photo photo = picture(13, 9, type, bands);
                const Photo back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
                CHECK(back.pixels == photo.pixels);
                CHECK(back.alpha == photo.alpha);
                CHECK(back.alpha.bytes.empty() == (bands % 2 == 1));
                CHECK(back.warning.empty());
            }
}

TEST_CASE("lossy formats stay close") {
    for (const Format form : {Format::jpeg, Format::webp})
        for (const std::size_t bands : {1u, 3u}) {
            CAPTURE(text(name_of(form), " ", bands));
            const Photo photo = blocks(64, 48, bands);
            Photo back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
            if (form == Format::webp && bands == 1) {  // WebP has no grey
                REQUIRE(back.pixels.bands == 3);
                Pixels green;
                green.shape(PixelType::uint8, 64, 48, 1);
                for (std::size_t i = 0; i < green.bytes.size(); ++i) green.bytes[i] = back.pixels.bytes[3 * i + 1];
                back.pixels = green;
            }
            CHECK(distance(photo, back) < 4);
        }
}

TEST_CASE("transparency of WebP is untouched") {
    const Photo photo = picture(24, 16, PixelType::uint8, 4);
    CHECK(read_photo(encode_photo(photo, Format::webp, {}, "encode"), "it").alpha == photo.alpha);
}

TEST_CASE("16 bits are rounded where the format holds 8") {
    Photo photo;
    photo.pixels.shape(PixelType::uint16, 16, 16, 1);
    std::uint16_t* const numbers = photo.pixels.view().row<std::uint16_t>(0);
    std::fill_n(numbers, 256, std::uint16_t{40000});
    const Photo back = read_photo(encode_photo(photo, Format::jpeg, 100, "encode"), "it");
    CHECK(std::to_integer<int>(back.pixels.bytes[0]) == 156);  // 40000 / 257 = 155.6
}

TEST_CASE("quality is kept") {
    const Photo photo = blocks(64, 64);
    for (const Format form : {Format::jpeg, Format::webp}) {
        std::size_t before = 0;
        for (const int quality : {1, 50, 95, 100}) {
            const std::size_t size = encode_photo(photo, form, quality, "encode").size();
            CHECK(size >= before);
            if (quality == 95) CHECK(size == encode_photo(photo, form, {}, "encode").size());
            before = size;
        }
    }
    CHECK_THROWS_WITH_AS(encode_photo(photo, Format::png, 80, "encode"),
                         "png is lossless and has no quality: leave out quality 80, or choose jpeg or webp",
                         PhotoError);
    CHECK_THROWS_WITH_AS(encode_photo(photo, Format::jpeg, 0, "encode"), "quality 0 is out of range: choose 1 to 100",
                         PhotoError);
}

TEST_CASE("orientation is applied once") {
    const Photo upright = blocks(48, 32);
    const auto at = [](const Photo& photo, std::size_t y, std::size_t x, std::size_t c) {
        return photo.pixels.bytes[(y * photo.pixels.width + x) * 3 + c];
    };
    for (const Format form : FORMATS)
        for (int orientation = 1; orientation <= 8; ++orientation) {
            CAPTURE(text(name_of(form), " ", orientation));
            Photo turned;  // so that the tag turns it back
            const bool lies = orientation > 4;
            turned.pixels.shape(PixelType::uint8, lies ? 32 : 48, lies ? 48 : 32, 3);
            for (std::size_t y = 0; y < 48; ++y)
                for (std::size_t x = 0; x < 32; ++x) {
                    const std::size_t ry = 47 - y, rx = 31 - x;
                    const std::size_t row[] = {0, y, y, ry, ry, x, rx, rx, x};
                    const std::size_t column[] = {0, x, rx, rx, x, y, y, ry, ry};
                    // orientation 5 to 8: row 0 of the file is the left (5, 8) or right (6, 7) side of the picture
                    const auto o = static_cast<std::size_t>(orientation);
                    for (std::size_t c = 0; c < 3; ++c)
                        turned.pixels.bytes[(row[o] * turned.pixels.width + column[o]) * 3 + c] = at(upright, y, x, c);
                }
            const Photo once = read_photo(saved_by_libvips(turned, form, orientation), "it");
            REQUIRE(once.pixels.height == 48);
            CHECK(distance(once, upright) < 4);
            const Photo twice = read_photo(encode_photo(once, form, {}, "encode"), "it");
            REQUIRE(twice.pixels.height == 48);
            CHECK(distance(twice, upright) < 6);
        }
}

TEST_CASE("what is no photo is named, in one line") {
    const auto refused = [](const std::string& data, const char* message, std::size_t most = MAX_PIXELS) {
        CAPTURE(message);
        const std::vector<std::uint8_t> bytes(data.begin(), data.end());
        try {
            read_photo(bytes, "it", most);
            FAIL_CHECK(message, " expected, but it was read");
        } catch (const PhotoError& error) {
            const std::string said = error.what();
            CHECK_MESSAGE(said.find(message) != std::string::npos, said);
            CHECK(said.find('\n') == std::string::npos);
        }
    };
    const auto encoded = [](Format form) {
        const auto bytes = encode_photo(blocks(64, 64), form, {}, "encode");
        return std::string(bytes.begin(), bytes.end());
    };
    refused("", "it is empty");
    refused("not an image, whatever its name says", "it is not a PNG, JPEG, WebP or TIFF image");
    refused("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "is not a PNG");
    refused(std::string("\x89PNG\r\n\x1a\n", 8) + "rubbish rubbish", "it is damaged or cut short: ");
    for (const Format form : FORMATS) {
        refused(encoded(form).substr(0, 60), "it is damaged or cut short: ");
        refused(encoded(form), "it is too large: 64x64 = 0 megapixels, the limit is 0.004", 4000);
    }
    refused(encoded(Format::jpeg).substr(0, encoded(Format::jpeg).size() - 30), "it is damaged or cut short: ");
    refused(encoded(Format::png).substr(0, encoded(Format::png).size() - 30), "it is damaged or cut short: ");
}

TEST_CASE("kinds of pixels that are not supported are named") {
    const auto saved = [](VipsImage* image, const char* format, auto... options) {
        void* data = nullptr;
        std::size_t size = 0;
        vips::check(vips_image_write_to_buffer(image, format, &data, &size, options..., nullptr));
        const std::unique_ptr<void, vips::Free> owner(data);
        const auto* first = static_cast<const std::uint8_t*>(data);
        return std::vector<std::uint8_t>(first, first + size);
    };
    vips::start();
    const auto black = [](int width, int height, int bands, VipsInterpretation space) {
        const vips::Image plain =
            vips::made([&](VipsImage** out) { return vips_black(out, width, height, "bands", bands, nullptr); });
        return vips::made(
            [&](VipsImage** out) { return vips_copy(plain.get(), out, "interpretation", space, nullptr); });
    };
    const vips::Image cmyk = black(8, 8, 4, VIPS_INTERPRETATION_CMYK);
    const vips::Image pages = black(8, 16, 3, VIPS_INTERPRETATION_sRGB);
    const vips::Image real = vips::made([&](VipsImage** out) { return vips_cast_float(pages.get(), out, nullptr); });
    CHECK_THROWS_WITH_AS(read_photo(saved(cmyk.get(), ".jpg"), "it"), "it is a CMYK image: convert it to RGB first",
                         PhotoError);
    CHECK_THROWS_WITH_AS(read_photo(saved(pages.get(), ".tif", "page_height", 8), "it"),
                         "it holds 2 pages or frames: only single images are supported", PhotoError);
    CHECK_THROWS_WITH_AS(read_photo(saved(real.get(), ".tif"), "it"),
                         doctest::Contains("it has pixels of an unsupported kind (3 bands of float, "), PhotoError);
}
