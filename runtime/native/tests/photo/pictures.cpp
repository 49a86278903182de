#include "pictures.h"

#include <cstdlib>
#include <random>

#include "photo/encoding.h"

namespace shadowdiffusion {
namespace {

using Bytes = std::vector<std::uint8_t>;

double number(const Pixels& pixels, std::size_t i) {
    if (pixels.type == PixelType::uint8) return std::to_integer<int>(pixels.bytes[i]);
    return pixels.view().row<std::uint16_t>(0)[i];
}

// A folder of EXIF, with its values behind it.
class ExifFolder {
  public:
    ExifFolder(bool little, std::size_t start, std::size_t entries)
        : little_(little), first_value_(start + 2 + 12 * entries + 4) {
        put(table_, entries, 2);
    }
    void add(std::size_t tag, std::size_t type, std::size_t count, const Bytes& data) {
        put(table_, tag, 2), put(table_, type, 2), put(table_, count, 4);
        if (data.size() > 4) {
            put(table_, first_value_ + values_.size(), 4);
            values_.insert(values_.end(), data.begin(), data.end());
        } else {
            for (std::size_t i = 0; i < 4; ++i) table_.push_back(i < data.size() ? data[i] : 0);
        }
    }
    Bytes numbers(std::initializer_list<std::size_t> values, int size = 4) const {
        Bytes bytes;
        for (const std::size_t value : values) put(bytes, value, size);
        return bytes;
    }
    Bytes bytes() const {
        Bytes all = table_;
        put(all, 0, 4);
        all.insert(all.end(), values_.begin(), values_.end());
        return all;
    }

  private:
    void put(Bytes& bytes, std::size_t value, int size) const {
        for (int i = 0; i < size; ++i)
            bytes.push_back(static_cast<std::uint8_t>(value >> 8 * (little_ ? i : size - 1 - i)));
    }
    bool little_;
    std::size_t first_value_;
    Bytes table_, values_;
};

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

ExifFolder camera(bool little, std::uint16_t orientation, std::size_t exposure_at, std::size_t place_at) {
    ExifFolder folder(little, 8, 5);
    folder.add(0x010F, 2, 5, bytes_of(std::string("ACME\0", 5)));
    folder.add(0x0112, 3, 1, folder.numbers({orientation}, 2));
    folder.add(0x013B, 2, 5, bytes_of(std::string("J\xf6rg\0", 5)));
    folder.add(0x8769, 4, 1, folder.numbers({exposure_at}));
    folder.add(0x8825, 4, 1, folder.numbers({place_at}));
    return folder;
}

}  // namespace

bool operator==(const Pixels& one, const Pixels& two) {
    return one.type == two.type && one.height == two.height && one.width == two.width && one.bands == two.bands &&
           one.bytes == two.bytes;
}

Photo picture(std::size_t height, std::size_t width, PixelType type, std::size_t bands) {
    std::mt19937 chance(static_cast<std::uint32_t>(height * 1000 + width * 10 + bands));
    const auto fill = [&](Pixels& pixels, std::size_t channels) {
        pixels.shape(type, height, width, channels);
        for (std::byte& byte : pixels.bytes) byte = static_cast<std::byte>(chance() & 0xff);
    };
    Photo photo;
    fill(photo.pixels, bands >= 3 ? 3 : 1);
    if (bands % 2 == 0) fill(photo.alpha, 1);
    return photo;
}

Photo blocks(std::size_t height, std::size_t width, std::size_t bands) {
    Photo photo = picture(height, width, PixelType::uint8, bands);
    for (std::size_t y = 0; y < height; ++y)
        for (std::size_t x = 0; x < width; ++x)
            for (std::size_t c = 0; c < bands; ++c)
                photo.pixels.bytes[(y * width + x) * bands + c] =
                    static_cast<std::byte>((y / 8 * 53 + x / 8 * 31 + c * 17) & 0xff);
    return photo;
}

Bytes saved_by_libvips(const Photo& photo, Format form, int orientation) {
    const Pixels& pixels = photo.pixels;
    const vips::Image plain =
        vips::view(pixels.bytes.data(), pixels.height, pixels.width, pixels.bands, VIPS_FORMAT_UCHAR);
    const vips::Image image = vips::made([&](VipsImage** out) {
        return vips_copy(plain.get(), out, "interpretation", VIPS_INTERPRETATION_sRGB, nullptr);
    });
    vips::set_blob(image.get(), EXIF, exif_block(true, static_cast<std::uint16_t>(orientation)));
    vips_image_set_int(image.get(), VIPS_META_ORIENTATION, orientation);
    void* data = nullptr;
    std::size_t size = 0;
    switch (form) {
    case Format::png:
        vips::check(vips_pngsave_buffer(image.get(), &data, &size, nullptr));
        break;
    case Format::jpeg:
        vips::check(vips_jpegsave_buffer(image.get(), &data, &size, "Q", 100, nullptr));
        break;
    case Format::webp:
        vips::check(vips_webpsave_buffer(image.get(), &data, &size, "lossless", TRUE, nullptr));
        break;
    case Format::tiff:
        vips::check(vips_tiffsave_buffer(image.get(), &data, &size, nullptr));
        break;
    }
    const std::unique_ptr<void, vips::Free> owner(data);
    const auto* first = static_cast<const std::uint8_t*>(data);
    return {first, first + size};
}

double distance(const Photo& one, const Photo& two) {
    const std::size_t count = one.pixels.bytes.size() / size_of(one.pixels.type);
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += std::abs(number(one.pixels, i) - number(two.pixels, i));
    return sum / static_cast<double>(count);
}

Bytes exif_block(bool little, std::uint16_t orientation) {
    const std::size_t exposure_at = 8 + camera(little, orientation, 0, 0).bytes().size();
    ExifFolder exposure(little, exposure_at, 2);
    exposure.add(0x829A, 5, 1, exposure.numbers({1, 125}));
    exposure.add(0x927C, 7, 100, bytes_of("ACME" + std::string(96, 'n')));
    const std::size_t place_at = exposure_at + exposure.bytes().size();
    ExifFolder place(little, place_at, 2);
    place.add(1, 2, 2, bytes_of(std::string("N\0", 2)));
    place.add(2, 5, 3, place.numbers({48, 1, 8, 1, 25, 2}));
    Bytes block = bytes_of(std::string("Exif\0\0", 6) + (little ? "II*" : "MM"));
    block.push_back(little ? 0 : 0);
    if (!little) block.push_back('*');
    for (const Bytes& part : {exposure.numbers({8}), camera(little, orientation, exposure_at, place_at).bytes(),
                              exposure.bytes(), place.bytes()})
        block.insert(block.end(), part.begin(), part.end());
    return block;
}

Bytes jpeg_with_exif(const Photo& photo, const Bytes& block) {
    Bytes file = encode_photo(photo, Format::jpeg, 100, "encode");
    const std::size_t size = block.size() + 2;
    Bytes segment{0xff, 0xe1, static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(size & 0xff)};
    segment.insert(segment.end(), block.begin(), block.end());
    file.insert(file.begin() + 2, segment.begin(), segment.end());
    return file;
}

}  // namespace shadowdiffusion
