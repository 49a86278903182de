#include "photo/metadata.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace shadowdiffusion {
namespace {

using namespace std::string_view_literals;
using Bytes = std::vector<std::uint8_t>;

constexpr const char* THUMBNAIL = "jpeg-thumbnail-data";
constexpr const char* IPTC = "iptc-data";
constexpr std::string_view PHOTOSHOP = "Photoshop 3.0\0"sv;
constexpr std::string_view RESOURCE = "8BIM\x04\x04\0\0"sv;
// All of EXIF is in its block: the fields that libvips makes of its entries are left aside, because texts that are not
// UTF-8 do not survive in them.
constexpr std::array<const char*, 8> KEPT{
    ICC, EXIF, THUMBNAIL, IPTC, "xmp-data", "photoshop-data", "image-description", "resolution-unit"};

// png-comment-NUMBER-KEY
bool is_comment(std::string_view name) {
    constexpr std::string_view prefix = "png-comment-";
    if (!name.starts_with(prefix)) return false;
    name.remove_prefix(prefix.size());
    const std::size_t digits = name.find_first_not_of("0123456789");
    return digits != 0 && digits != std::string_view::npos && name[digits] == '-' && digits + 1 < name.size();
}

std::string_view text_of(const Bytes& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

std::size_t big_endian(std::string_view bytes) {
    std::size_t value = 0;
    for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
}

// The IPTC among Photoshop's resources: signature, number, name, length, data each; empty if there is none.
std::string_view in_photoshop(std::string_view rest) {
    rest.remove_prefix(PHOTOSHOP.size());
    while (rest.size() > 6 && rest.starts_with("8BIM")) {
        // names begin with their length and are padded to be even
        const std::size_t name = 6 + (static_cast<unsigned char>(rest[6]) | 1) + 1;
        if (name + 4 > rest.size()) return {};
        const std::size_t size = big_endian(rest.substr(name, 4));
        const bool is_iptc = rest.substr(4, 2) == "\x04\x04";
        rest.remove_prefix(name + 4);
        if (is_iptc) return rest.substr(0, size);
        rest.remove_prefix(std::min(rest.size(), size + size % 2));
    }
    return {};
}

// JPEG has IPTC as a resource of Photoshop, TIFF by itself.
Bytes iptc_for(Format form, const Bytes& iptc) {
    const std::string_view text = text_of(iptc);
    const bool wrapped = text.starts_with(PHOTOSHOP);
    if (form == Format::tiff) {
        Bytes plain = bytes_of(wrapped ? in_photoshop(text) : text);
        plain.resize(4 * plain.size());  // libvips writes a quarter of it (8.18), and IPTC may end in zeros
        return plain;
    }
    if (form != Format::jpeg || wrapped) return iptc;
    std::string resource = std::string(PHOTOSHOP) + std::string(RESOURCE);
    for (int shift = 24; shift >= 0; shift -= 8) resource += static_cast<char>(iptc.size() >> shift & 0xff);
    return bytes_of(resource + std::string(text) + std::string(iptc.size() % 2, '\0'));
}

// The camera's shows the photo as it was.
Bytes new_thumbnail(VipsImage* image) {
    const vips::Image small =
        vips::made([&](VipsImage** out) { return vips_thumbnail_image(image, out, 160, nullptr); });
    void* data = nullptr;
    std::size_t size = 0;
    vips::check(vips_jpegsave_buffer(small.get(), &data, &size, "strip", TRUE, nullptr));
    const std::unique_ptr<void, vips::Free> owner(data);
    const auto* first = static_cast<const std::uint8_t*>(data);
    return {first, first + size};
}

}  // namespace

Metadata read_metadata(VipsImage* image) {
    Metadata found;
    const auto keep = [&](const char* name) {
        MetadataField field;
        const GType type = vips_image_get_typeof(image, name);
        if (type == VIPS_TYPE_BLOB) {
            const auto data = vips::blob(image, name);
            field.value.assign(data.begin(), data.end());
        } else if (const char* text = nullptr; type != 0 && vips_image_get_string(image, name, &text) == 0) {
            field = {true, bytes_of(text)};
        }
        if (std::strcmp(name, ICC) == 0) {  // some programs pad it, which PNG does not take
            const std::size_t size = big_endian(text_of(field.value).substr(0, 4));
            field.value.resize(std::min(field.value.size(), size));
        }
        if (!field.value.empty()) found.insert_or_assign(name, std::move(field));  // libvips cannot write empty ones
    };
    for (const char* name : KEPT) keep(name);
    const std::unique_ptr<char*, decltype(&g_strfreev)> names(vips_image_get_fields(image), &g_strfreev);
    for (char** name = names.get(); name != nullptr && *name != nullptr; ++name)
        if (is_comment(*name)) keep(*name);
    return found;
}

void attach(VipsImage* image, const Metadata& metadata, Format form) {
    for (const auto& [name, field] : metadata) {
        if (field.is_text) {
            vips_image_set_string(image, name.c_str(), std::string(text_of(field.value)).c_str());
            continue;
        }
        const Bytes value = name == THUMBNAIL ? new_thumbnail(image)
                            : name == IPTC    ? iptc_for(form, field.value)
                                              : field.value;
        if (!value.empty()) vips::set_blob(image, name.c_str(), value);
    }
    // the EXIF block still says how the camera was held, but the pixels are upright
    if (metadata.contains(EXIF)) vips_image_set_int(image, VIPS_META_ORIENTATION, 1);
}

}  // namespace shadowdiffusion
