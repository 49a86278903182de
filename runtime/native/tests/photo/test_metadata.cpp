// What travels with the pixels: EXIF, XMP, IPTC, thumbnail, resolution.

#include <doctest/doctest.h>

#include <string>
#include <string_view>

#include "photo/encoding.h"
#include "photo/metadata.h"
#include "photo/reading.h"
#include "photo/tiff_exif.h"
#include "pictures.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

std::string text_of(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string seen_by_libvips(const std::vector<std::uint8_t>& exif, const char* field) {
    const auto file = jpeg_with_exif(blocks(8, 8), exif);
    const vips::Source source = vips::source_of(file);
    const vips::Image image =
        vips::made([&](VipsImage** out) { return vips_jpegload_source(source.get(), out, nullptr); });
    const char* value = "";
    if (vips_image_get_typeof(image.get(), field) != 0) vips_image_get_string(image.get(), field, &value);
    return value;
}

}  // namespace

TEST_CASE("EXIF survives from JPEG to any format and back, of either byte order") {
    for (const bool little : {true, false})
        for (const Format form : FORMATS) {
            CAPTURE(text(name_of(form), little ? " little" : " big"));
            const Photo photo = read_photo(jpeg_with_exif(blocks(16, 24), exif_block(little, 6)), "it");
            CHECK(photo.pixels.height == 24);
            const Photo back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
            CHECK(back.pixels.height == 24);
            const auto& exif = back.metadata.at(EXIF).value;
            CHECK(seen_by_libvips(exif, "exif-ifd0-Make").starts_with("ACME"));
            CHECK(seen_by_libvips(exif, "exif-ifd2-ExposureTime").starts_with("1/125"));
            CHECK(seen_by_libvips(exif, "exif-ifd3-GPSLatitude").starts_with("48/1 8/1 25/2"));
            // libvips 8.14 writes "<invalid utf-8 string>" for what is not UTF-8, but not into TIFF, which is our work
            if (form == Format::tiff) CHECK(text_of(exif).find("J\xf6rg") != std::string::npos);
            CHECK(text_of(exif).find("ACME" + std::string(96, 'n')) != std::string::npos);
        }
}

TEST_CASE("damaged EXIF does not matter") {
    const auto block = exif_block(true);
    const Photo photo = blocks(8, 8);
    for (std::size_t length = 6; length < block.size(); ++length) {
        Photo with = photo;
        with.metadata[EXIF] = {false, {block.begin(), block.begin() + static_cast<std::ptrdiff_t>(length)}};
        CHECK(read_photo(encode_photo(with, Format::tiff, {}, "encode"), "it").pixels == photo.pixels);
    }
    for (std::size_t position = 6; position < block.size(); ++position) {
        auto damaged = block;
        damaged[position] ^= 0xff;
        Photo with = photo;
        with.metadata[EXIF] = {false, damaged};
        CHECK(read_photo(encode_photo(with, Format::tiff, {}, "encode"), "it").pixels == photo.pixels);
    }
}

TEST_CASE("XMP and resolution are kept") {
    const std::string xmp = "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"/>";
    for (const Format form : FORMATS) {
        CAPTURE(std::string(name_of(form)));
        Photo photo = blocks(16, 16);
        photo.metadata["xmp-data"] = {false, {xmp.begin(), xmp.end()}};
        photo.horizontal_resolution = photo.vertical_resolution = 12;
        const Photo back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
        CHECK(text_of(back.metadata.at("xmp-data").value) == xmp);
        if (form != Format::webp) CHECK(back.horizontal_resolution == doctest::Approx(12).epsilon(0.01));
    }
}

TEST_CASE("IPTC is kept between JPEG and TIFF") {
    const std::string_view iptc("\x1c\x02\x78\x00\x05hello\x1c\x02\x50\x00\x05Joerg", 20);
    for (const Format first : {Format::jpeg, Format::tiff})
        for (const Format second : {Format::jpeg, Format::tiff}) {
            CAPTURE(text(name_of(first), " ", name_of(second)));
            Photo photo = blocks(16, 16);
            photo.metadata["iptc-data"] = {false, {iptc.begin(), iptc.end()}};
            const Photo once = read_photo(encode_photo(photo, first, {}, "encode"), "it");
            const Photo twice = read_photo(encode_photo(once, second, {}, "encode"), "it");
            CHECK(text_of(twice.metadata.at("iptc-data").value).find(iptc) != std::string::npos);
        }
}

TEST_CASE("what a format has no place for stops nothing") {
    for (const Format form : FORMATS) {
        Photo photo = blocks(16, 16);
        for (const char* name : {"iptc-data", "xmp-data", "photoshop-data"})
            photo.metadata[name] = {false, std::vector<std::uint8_t>(200'000, 'x')};
        CHECK(distance(read_photo(encode_photo(photo, form, {}, "encode"), "it"), photo) < 6);
    }
}

TEST_CASE("EXIF of a TIFF made elsewhere is read") {
    const auto block = exif_block(false);
    const std::vector<std::uint8_t> tiff(block.begin() + 6, block.end());
    CHECK(text_of(read_exif(tiff)).find("J\xf6rg") != std::string::npos);
    for (std::size_t length = 0; length < tiff.size(); ++length) read_exif(std::span(tiff).first(length));
}
