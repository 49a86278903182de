// Pixels that callers hand over: which are accepted as photo or mask, and what their numbers stand for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace shadowdiffusion {

enum class PixelType : std::uint8_t { uint8, uint16, float32 };

// Bytes of one number.
constexpr std::size_t size_of(PixelType type) {
    return type == PixelType::uint8 ? 1 : type == PixelType::uint16 ? 2 : 4;
}

// The number that stands for 1.0.
constexpr float whole_of(PixelType type) {
    return type == PixelType::uint8 ? 255.0f : type == PixelType::uint16 ? 65535.0f : 1.0f;
}

inline constexpr std::array<float, 3> LUMINANCE = {0.2126f, 0.7152f, 0.0722f};  // BT.709

// Pixels [height, width, bands] of somebody else, top row first; bands is 1 (grey) or 3.
struct ImageView {
    const std::byte* data = nullptr;
    PixelType type = PixelType::uint8;
    std::size_t height = 0, width = 0, bands = 3;
    std::size_t stride = 0;  // bytes from row to row

    template <class T>
    const T* row(std::size_t y) const {
        return reinterpret_cast<const T*>(data + y * stride);
    }
    std::size_t row_bytes() const { return width * bands * size_of(type); }
};

// The same, writable.
struct MutableImageView {
    std::byte* data = nullptr;
    PixelType type = PixelType::uint8;
    std::size_t height = 0, width = 0, bands = 3;
    std::size_t stride = 0;

    template <class T>
    T* row(std::size_t y) const {
        return reinterpret_cast<T*>(data + y * stride);
    }
    operator ImageView() const { return {data, type, height, width, bands, stride}; }
};

// Pixels that own their memory, rows without gaps. `shape` keeps the memory where it suffices.
struct Pixels {
    PixelType type = PixelType::uint8;
    std::size_t height = 0, width = 0, bands = 3;
    std::vector<std::byte> bytes;

    void shape(PixelType of, std::size_t rows, std::size_t columns, std::size_t channels) {
        type = of, height = rows, width = columns, bands = channels;
        bytes.resize(rows * columns * channels * size_of(of));
    }
    std::size_t stride() const { return width * bands * size_of(type); }
    ImageView view() const { return {bytes.data(), type, height, width, bands, stride()}; }
    MutableImageView view() { return {bytes.data(), type, height, width, bands, stride()}; }
};

// Throws PhotoError unless this can be a photo or a mask: 1 or 3 bands, at least one pixel, floats in [0, 1].
void check_pixels(const ImageView& image, std::string_view name);

}  // namespace shadowdiffusion
