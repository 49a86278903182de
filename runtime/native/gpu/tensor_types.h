// Floats as the bytes of the type that a tensor of a network has. Twin of runtime/backends/tensor_types.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace shadowdiffusion {

// Bytes of one value of a type by TensorRT's name, "FLOAT", "HALF" or "BF16"; 0 for another.
constexpr std::size_t value_size(std::string_view type) {
    return type == "FLOAT" ? 4 : type == "HALF" || type == "BF16" ? 2 : 0;
}

// The bits of the nearest number, ties to even.
std::uint16_t half_of(float value);
std::uint16_t bfloat_of(float value);

// Values in a type that `value_size` knows, into as many bytes.
void encode(std::span<const float> values, std::string_view type, std::span<std::byte> target);

}  // namespace shadowdiffusion
