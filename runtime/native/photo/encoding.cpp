#include "photo/encoding.h"

#include <algorithm>

#include "errors.h"
#include "photo/tiff_exif.h"
#include "photo/vips.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

vips::Image view(const Pixels& pixels) {
    return vips::view(pixels.bytes.data(), pixels.height, pixels.width, pixels.bands,
                      pixels.type == PixelType::uint8 ? VIPS_FORMAT_UCHAR : VIPS_FORMAT_USHORT);
}

vips::Image rounded_to_eight_bits(VipsImage* image) {
    const vips::Image scaled =  // the cast cuts off, so this rounds
        vips::made([&](VipsImage** out) { return vips_linear1(image, out, 1.0 / 257, 0.5, nullptr); });
    return vips::made([&](VipsImage** out) { return vips_cast(scaled.get(), out, VIPS_FORMAT_UCHAR, nullptr); });
}

VipsInterpretation space_of(bool colour, bool deep) {
    if (colour) return deep ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
    return deep ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W;
}

// A libvips image that is computed while it is saved.
vips::Image as_image(const Photo& photo, Format form) {
    vips::Image image = view(photo.pixels);
    if (!photo.alpha.bytes.empty()) {
        const vips::Image alpha = view(photo.alpha);
        image = vips::made([&](VipsImage** out) { return vips_bandjoin2(image.get(), alpha.get(), out, nullptr); });
    }
    bool deep = photo.pixels.type == PixelType::uint16;
    if (deep && is_lossy(form)) {
        image = rounded_to_eight_bits(image.get());
        deep = false;
    }
    image = vips::made([&](VipsImage** out) {
        return vips_copy(image.get(), out, "interpretation", space_of(photo.pixels.bands == 3, deep), "xres",
                         photo.horizontal_resolution, "yres", photo.vertical_resolution, nullptr);
    });
    attach(image.get(), photo.metadata, form);
    return image;
}

int save(VipsImage* image, VipsTarget* target, Format form, int quality) {
    switch (form) {
    case Format::jpeg:
        return vips_jpegsave_target(image, target, "Q", quality, "subsample_mode", VIPS_FOREIGN_SUBSAMPLE_OFF,
                                    "optimize_coding", TRUE, nullptr);
    case Format::png:
        return vips_pngsave_target(image, target, "compression", 6, nullptr);
    case Format::webp:
        return vips_webpsave_target(image, target, "Q", quality, "alpha_q", 100, nullptr);
    case Format::tiff:
        return vips_tiffsave_target(image, target, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE, "predictor",
                                    VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, nullptr);
    }
    return -1;
}

std::vector<std::uint8_t> written_to(VipsTarget* target) {
    VipsBlob* blob = nullptr;  // vips_target_steal of libvips 8.14 crashes after a saver has ended the target
    g_object_get(target, "blob", &blob, nullptr);
    std::size_t size = 0;
    const auto* data = static_cast<const std::uint8_t*>(vips_blob_get(blob, &size));
    std::vector<std::uint8_t> file(data, data + size);
    vips_area_unref(VIPS_AREA(blob));
    return file;
}

}  // namespace

std::vector<std::uint8_t> encode_photo(const Photo& photo, Format form, std::optional<int> quality,
                                       const std::string& what) {
    check_encoding(form, quality);
    if (std::max(photo.pixels.height, photo.pixels.width) > side_limit(form))
        throw PhotoError(text("cannot ", what, ": ", name_of(form), " allows ", side_limit(form),
                              " pixels a side; use PNG or TIFF"));
    if (!photo.alpha.bytes.empty() && form == Format::jpeg)
        throw PhotoError(text("cannot ", what, ": JPEG has no transparency, which the photo has; use PNG"));
    std::vector<std::uint8_t> file;
    try {
        const vips::Target target = vips::owned<vips::Target>(vips_target_new_to_memory());
        vips::check(save(as_image(photo, form).get(), target.get(), form, quality.value_or(QUALITY)));
        file = written_to(target.get());
    } catch (const vips::Failure& failure) {
        throw PhotoError(text("cannot ", what, ": ", failure.what()));
    }
    const auto exif = photo.metadata.find(EXIF);
    if (form == Format::tiff && exif != photo.metadata.end()) insert_exif(file, exif->second.value);
    return file;
}

}  // namespace shadowdiffusion
