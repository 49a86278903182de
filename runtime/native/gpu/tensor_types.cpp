#include "gpu/tensor_types.h"

#include <bit>
#include <cstring>

namespace shadowdiffusion {

std::uint16_t half_of(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
    std::uint32_t found;
    if (magnitude > 0x7F800000) {
        found = 0x7E00;  // not a number
    } else if (magnitude >= 0x477FF000) {
        found = 0x7C00;  // from 65520 on: infinity
    } else if (magnitude < 0x38800000) {
        // below 2^-14, where halves are 2^-24 apart, as floats are from 0.5 on
        found = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3F000000;
    } else {
        found = (magnitude + 0xFFF + (magnitude >> 13 & 1) - 0x38000000) >> 13;
    }
    return static_cast<std::uint16_t>(sign | found);
}

std::uint16_t bfloat_of(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFF) > 0x7F800000) return 0x7FC0;
    return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

void encode(std::span<const float> values, std::string_view type, std::span<std::byte> target) {
    if (type == "FLOAT") {
        std::memcpy(target.data(), values.data(), values.size_bytes());
        return;
    }
    const auto round = type == "HALF" ? half_of : bfloat_of;
    for (std::size_t i = 0; i < values.size(); ++i) {
        const std::uint16_t bits = round(values[i]);
        std::memcpy(&target[2 * i], &bits, sizeof bits);
    }
}

}  // namespace shadowdiffusion
