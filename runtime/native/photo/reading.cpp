#include "photo/reading.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <new>
#include <string>
#include <string_view>

#include "errors.h"
#include "photo/adobe_rgb.h"
#include "photo/colour.h"
#include "photo/tiff_exif.h"
#include "photo/truncation.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

// A libvips image that decodes row by row.
vips::Image open(VipsSource* source, Format form) {
    constexpr auto fail = VIPS_FAIL_ON_ERROR;
    constexpr auto access = VIPS_ACCESS_SEQUENTIAL;
    return vips::made([&](VipsImage** out) {
        switch (form) {
        case Format::jpeg:
            return vips_jpegload_source(source, out, "fail_on", fail, "access", access, nullptr);
        case Format::png:
            return vips_pngload_source(source, out, "fail_on", fail, "access", access, nullptr);
        case Format::webp:
            return vips_webpload_source(source, out, "fail_on", fail, "access", access, nullptr);
        case Format::tiff:
            return vips_tiffload_source(source, out, "fail_on", fail, "access", access, nullptr);
        }
        return -1;
    });
}

// Refuse, before decoding, what the pipeline cannot take.
void check_header(VipsImage* image, const std::string& name, std::size_t max_pixels) {
    const int width = vips_image_get_width(image), height = vips_image_get_height(image);
    const std::size_t count = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
    const auto millions = [](std::size_t pixels) { return static_cast<double>(pixels) / 1e6; };
    if (count > max_pixels)
        throw PhotoError(text(name, " is too large: ", width, "x", height, " = ", std::llround(millions(count)),
                              " megapixels, the limit is ", millions(max_pixels)));
    int pages = 1;
    if (vips_image_get_typeof(image, VIPS_META_N_PAGES) != 0) vips_image_get_int(image, VIPS_META_N_PAGES, &pages);
    if (pages > 1) throw PhotoError(text(name, " holds ", pages, " pages or frames: only single images are supported"));
    const VipsInterpretation space = vips_image_get_interpretation(image);
    if (space == VIPS_INTERPRETATION_CMYK) throw PhotoError(text(name, " is a CMYK image: convert it to RGB first"));
    const VipsBandFormat format = vips_image_get_format(image);
    const int bands = vips_image_get_bands(image), colours = bands - (vips_image_hasalpha(image) ? 1 : 0);
    const bool eight =
        format == VIPS_FORMAT_UCHAR && (space == VIPS_INTERPRETATION_B_W || space == VIPS_INTERPRETATION_sRGB);
    const bool sixteen =
        format == VIPS_FORMAT_USHORT && (space == VIPS_INTERPRETATION_GREY16 || space == VIPS_INTERPRETATION_RGB16);
    if ((!eight && !sixteen) || (colours != 1 && colours != 3))
        throw PhotoError(text(name, " has pixels of an unsupported kind (", bands, " bands of ",
                              vips_enum_nick(VIPS_TYPE_BAND_FORMAT, format), ", ",
                              vips_enum_nick(VIPS_TYPE_INTERPRETATION, space),
                              "): convert it to 8 or 16 bit grey or RGB"));
}

// EXIF of PNG comes from libvips 8.14 without its prefix, and so it does not know what is in it.
void complete_exif(VipsImage* image) {
    constexpr std::string_view prefix("Exif\0\0", 6);
    const auto found = vips::blob(image, EXIF);
    if (found.empty() || (found.size() > 6 && std::ranges::equal(found.first(6), prefix))) return;
    std::vector<std::uint8_t> block(prefix.begin(), prefix.end());
    block.insert(block.end(), found.begin(), found.end());
    vips_image_set_int(image, VIPS_META_ORIENTATION, orientation_in(block));
    vips::set_blob(image, EXIF, block);
}

bool is_turned(VipsImage* image) {
    int orientation = 1;
    return vips_image_get_typeof(image, VIPS_META_ORIENTATION) != 0 &&
           vips_image_get_int(image, VIPS_META_ORIENTATION, &orientation) == 0 && orientation != 1;
}

vips::Image upright(VipsImage* image) {
    // rows are decoded in order, and turning takes them in another
    const vips::Image decoded = vips::owned<vips::Image>(vips_image_copy_memory(image));
    return vips::made([&](VipsImage** out) { return vips_autorot(decoded.get(), out, nullptr); });
}

// Takes the rows of an image as libvips decodes them, in a thread of its own, and parts colours from alpha.
struct Parting {
    Pixels& colours;
    Pixels& alpha;
    std::atomic<std::size_t> taken;  // rows; whoever reads it sees what the other thread has written before

    static int take(VipsRegion* region, VipsRect* area, void* self) {
        Parting& parting = *static_cast<Parting*>(self);
        parting.taken.load(std::memory_order_acquire);
        for (int y = area->top; y < area->top + area->height; ++y) {
            const VipsPel* row = region->data + std::ptrdiff_t{y - region->valid.top} * region->bpl;
            parting.take_row(reinterpret_cast<const std::byte*>(row), static_cast<std::size_t>(y));
        }
        parting.taken.fetch_add(static_cast<std::size_t>(area->height), std::memory_order_release);
        return 0;
    }

    void take_row(const std::byte* row, std::size_t y) const {
        const std::size_t size = size_of(colours.type), part = colours.bands * size;
        std::byte* to = colours.bytes.data() + y * colours.stride();
        if (alpha.bytes.empty()) {
            std::copy_n(row, colours.stride(), to);
            return;
        }
        std::byte* alpha_to = alpha.bytes.data() + y * alpha.stride();
        for (std::size_t x = 0; x < colours.width; ++x) {
            to = std::copy_n(row, part, to);
            alpha_to = std::copy_n(row + part, size, alpha_to);
            row += part + size;
        }
    }
};

void decode(VipsImage* image, Photo& photo) {
    const auto height = static_cast<std::size_t>(vips_image_get_height(image));
    const auto width = static_cast<std::size_t>(vips_image_get_width(image));
    const auto bands = static_cast<std::size_t>(vips_image_get_bands(image)),
               colours = std::size_t{bands >= 3 ? 3u : 1u};
    const auto type = vips_image_get_format(image) == VIPS_FORMAT_UCHAR ? PixelType::uint8 : PixelType::uint16;
    photo.pixels.shape(type, height, width, colours);
    if (bands > colours) photo.alpha.shape(type, height, width, 1);
    Parting parting{photo.pixels, photo.alpha, {}};
    parting.taken.store(0, std::memory_order_release);
    vips::check(vips_sink_disc(image, Parting::take, &parting));
    if (parting.taken.load(std::memory_order_acquire) != height) throw vips::Failure("rows are missing");
}

// Pixels per millimetre, 1 (the default of libvips) where that cannot be.
double plausible(double resolution) { return resolution > 0 && resolution <= 1e6 ? resolution : 1; }

// Fill in `photo.profile`; a profile that cannot be used is dropped, with a warning.
void find_profile(Photo& photo, const std::string& name) {
    const auto found = photo.metadata.find(ICC);
    if (found == photo.metadata.end()) return;
    switch (judge(found->second.value, photo.pixels.bands)) {
    case Verdict::own:
        photo.profile = found->second.value;
        break;
    case Verdict::srgb:
        break;
    case Verdict::unusable:
        photo.metadata.erase(found);
        photo.warning = text("the colour profile of ", name, " is unusable: its colours are taken for sRGB");
    }
}

}  // namespace

Photo read_photo(std::span<const std::uint8_t> file, std::string_view called, std::size_t max_pixels) {
    const std::string name(called);
    const Format form = sniff(file, name);
    Photo photo;
    try {
        const vips::Source source = vips::source_of(file);
        vips::Image image = open(source.get(), form);
        check_header(image.get(), name, max_pixels);
        if (is_cut_short(file, form)) throw vips::Failure("its end is missing");
        if (form == Format::png) complete_exif(image.get());
        photo.metadata = read_metadata(image.get());
        if (auto exif = form == Format::tiff ? read_exif(file) : std::vector<std::uint8_t>{}; !exif.empty())
            photo.metadata[EXIF] = {false, std::move(exif)};
        if (!photo.metadata.contains(ICC) && says_adobe_rgb(image.get())) photo.metadata[ICC] = {false, adobe_rgb()};
        photo.horizontal_resolution = plausible(vips_image_get_xres(image.get()));
        photo.vertical_resolution = plausible(vips_image_get_yres(image.get()));
        if (is_turned(image.get())) image = upright(image.get());
        decode(image.get(), photo);
    } catch (const vips::Failure& failure) {
        throw PhotoError(text(name, " is damaged or cut short: ", failure.what()));
    } catch (const std::bad_alloc&) {
        throw PhotoError(
            text(name, " does not fit into memory: ", photo.pixels.width, "x", photo.pixels.height, " pixels"));
    }
    find_profile(photo, name);
    return photo;
}

}  // namespace shadowdiffusion
