// Restores a photo: restore_photo IN OUT [--mask MASK] [--bundle BUNDLE]. libvips reads and writes the files.
//
// Of what a photo file may hold, an example keeps pixels, depth and alpha; colours become sRGB. The Python program keeps
// the rest.
#include <shadowdiffusion.h>
#include <vips/vips.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Unref {
    void operator()(VipsImage* image) const { g_object_unref(image); }
};
using Image = std::unique_ptr<VipsImage, Unref>;

// What went wrong in libvips, as one line.
[[noreturn]] void fail(const std::string& doing) {
    std::string why = vips_error_buffer();
    vips_error_clear();
    while (!why.empty() && why.back() == '\n') why.pop_back();
    for (char& c : why) c = c == '\n' ? ' ' : c;
    throw std::runtime_error("cannot " + doing + ": " + why);
}

// The image that a function of libvips makes.
template <class Make>
Image made(const std::string& doing, const Make& make) {
    VipsImage* out = nullptr;
    if (make(&out)) fail(doing);
    return Image(out);
}

// Pixels [height, width, bands] of 8 or 16 bits.
struct Pixels {
    std::vector<unsigned char> bytes;
    shadowdiffusion_photo view{};
};

Pixels pixels_of(VipsImage* image, const std::string& doing) {
    std::size_t size = 0;
    void* memory = vips_image_write_to_memory(image, &size);
    if (!memory) fail(doing);
    Pixels pixels;
    pixels.bytes.assign(static_cast<unsigned char*>(memory), static_cast<unsigned char*>(memory) + size);
    g_free(memory);
    const bool deep = vips_image_get_format(image) == VIPS_FORMAT_USHORT;
    pixels.view = {pixels.bytes.data(), deep ? SHADOWDIFFUSION_UINT16 : SHADOWDIFFUSION_UINT8,
                   static_cast<std::size_t>(vips_image_get_height(image)), static_cast<std::size_t>(vips_image_get_width(image)),
                   static_cast<std::size_t>(vips_image_get_bands(image)), 0};
    return pixels;
}

// A file, upright, as grey or sRGB of 8 or 16 bits, damaged files refused.
Image read(const std::string& path) {
    const std::string doing = "read " + path;
    Image image(vips_image_new_from_file(path.c_str(), "fail_on", VIPS_FAIL_ON_TRUNCATED, nullptr));
    if (!image) fail(doing);
    image = made(doing, [&](VipsImage** out) { return vips_autorot(image.get(), out, nullptr); });
    const bool deep = vips_image_get_format(image.get()) == VIPS_FORMAT_USHORT;
    if (vips_image_get_typeof(image.get(), VIPS_META_ICC_NAME))
        image = made(doing, [&](VipsImage** out) {
            return vips_icc_transform(image.get(), out, "srgb", "embedded", TRUE, "depth", deep ? 16 : 8, nullptr);
        });
    const bool grey = vips_image_get_bands(image.get()) < 3;
    const VipsInterpretation space = grey ? (deep ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W)
                                          : (deep ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB);
    return made(doing, [&](VipsImage** out) { return vips_colourspace(image.get(), out, space, nullptr); });
}

// The first bands of an image, or those from `first` on.
Image bands(VipsImage* image, int first, int count) {
    return made("take an image apart",
                [&](VipsImage** out) { return vips_extract_band(image, out, first, "n", count, nullptr); });
}

// Whole or not at all: beside its place first, then renamed.
void write(VipsImage* image, const std::string& path) {
    namespace fs = std::filesystem;
    const fs::path target(path), partial = target.parent_path() / (".partial-" + target.filename().string());
    if (vips_image_write_to_file(image, partial.c_str(), nullptr)) {
        std::error_code ignored;
        fs::remove(partial, ignored);
        fail("write " + path);
    }
    fs::rename(partial, target);
}

void demand(shadowdiffusion_status status) {
    if (status != SHADOWDIFFUSION_OK) throw std::runtime_error(shadowdiffusion_error());
}

void restore(const std::string& in, const std::string& out, const char* mask_path, const char* bundle) {
    const Image photo = read(in);
    const int all = vips_image_get_bands(photo.get()), colours = vips_image_hasalpha(photo.get()) ? all - 1 : all;
    Pixels pixels = pixels_of(bands(photo.get(), 0, colours).get(), "read " + in), mask;
    if (mask_path) {
        const Image image = read(mask_path);
        mask = pixels_of(bands(image.get(), 0, vips_image_get_bands(image.get()) < 3 ? 1 : 3).get(), std::string("read ") + mask_path);
    }
    shadowdiffusion_settings settings;
    shadowdiffusion_settings_init(&settings);
    settings.warning = [](const char* line, void*) { std::fprintf(stderr, "note: %s\n", line); };
    shadowdiffusion_restorer* opened = nullptr;
    demand(shadowdiffusion_open(bundle, &settings, &opened));
    const std::unique_ptr<shadowdiffusion_restorer, void (*)(shadowdiffusion_restorer*)> restorer(opened, shadowdiffusion_close);
    const shadowdiffusion_result result = {sizeof result, pixels.bytes.data(), nullptr, nullptr, nullptr};  // in place
    demand(shadowdiffusion_restore(opened, &pixels.view, mask_path ? &mask.view : nullptr, nullptr, &result));

    Image restored(vips_image_new_from_memory(pixels.bytes.data(), pixels.bytes.size(), vips_image_get_width(photo.get()),
                                              vips_image_get_height(photo.get()), colours, vips_image_get_format(photo.get())));
    if (!restored) fail("write " + out);
    restored = made("write " + out, [&](VipsImage** copy) {
        return vips_copy(restored.get(), copy, "interpretation", vips_image_get_interpretation(photo.get()), nullptr);
    });
    if (colours < all) {
        const Image alpha = bands(photo.get(), colours, 1);
        restored = made("write " + out, [&](VipsImage** both) { return vips_bandjoin2(restored.get(), alpha.get(), both, nullptr); });
    }
    write(restored.get(), out);
}

}  // namespace

int main(int count, char** words) {
    const char *mask = nullptr, *bundle = nullptr;
    bool right = count >= 3 && count % 2 == 1;
    for (int i = 3; right && i < count; i += 2) {
        if (std::strcmp(words[i], "--mask") == 0)
            mask = words[i + 1];
        else if (std::strcmp(words[i], "--bundle") == 0)
            bundle = words[i + 1];
        else
            right = false;
    }
    if (!right) return std::fputs("usage: restore_photo IN OUT [--mask MASK] [--bundle BUNDLE]\n", stderr), 2;
    if (VIPS_INIT(words[0])) return std::fputs("error: libvips does not start\n", stderr), 1;
    try {
        restore(words[1], words[2], mask, bundle);
    } catch (const std::exception& error) {
        return std::fprintf(stderr, "error: %s\n", error.what()), 1;
    }
    return 0;
}
