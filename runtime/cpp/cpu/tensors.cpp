#include "cpu/tensors.h"

#include <bit>
#include <cstdint>
#include <cstring>

#include "text.h"

namespace shadowdiffusion {

namespace {

using json::Invalid;

constexpr json::Range SIDE{0, 1 << 20};

float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half >> 15) << 31, exponent = (half >> 10) & 31u, fraction = half & 1023u;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
    if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float small = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -small : small;
}

std::vector<float> floats_of(std::span<const std::byte> bytes, std::size_t size) {
    std::vector<float> values(bytes.size() / size);
    if (values.empty()) return values;
    if (size == 4) {
        std::memcpy(values.data(), bytes.data(), bytes.size());
        return values;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
        std::uint16_t half;
        std::memcpy(&half, bytes.data() + 2 * i, 2);
        values[i] = half_to_float(half);
    }
    return values;
}

}  // namespace

Tensors::Tensors(const json::Value& header, std::span<const std::byte> data) {
    for (const auto& [name, value] : header.items()) {
        if (name == "__metadata__") continue;
        json::Object object(value, "$." + name);
        const std::string type = object.text("dtype");
        if (type != "F32" && type != "F16") throw Invalid("Expected `F32` or `F16`, got `" + type + "`", object.path("dtype"));
        std::size_t count = 1;
        object.array("shape", [&](const json::Value& side, const std::string& path) {
            const auto length = static_cast<std::size_t>(json::int_of(side, path, SIDE));
            if (length != 0 && count > data.size() / length) throw Invalid("More values than the file has bytes", path);
            count *= length;
        });
        std::vector<std::size_t> ends;
        object.array("data_offsets", [&](const json::Value& end, const std::string& path) {
            ends.push_back(static_cast<std::size_t>(json::int_of(end, path, {0, static_cast<double>(data.size())})));
        });
        object.done();
        const std::size_t size = type == "F32" ? 4 : 2;
        if (ends.size() != 2 || ends[0] > ends[1] || ends[1] - ends[0] != count * size)
            throw Invalid("Not where a tensor of its shape can be", object.path("data_offsets"));
        values_.emplace(name, floats_of(data.subspan(ends[0], count * size), size));
    }
}

std::span<const float> Tensors::of(const std::string& name, std::size_t count, const std::string& path) const {
    const auto found = values_.find(name);
    if (found == values_.end()) throw Invalid("There is no tensor `" + name + "`", path);
    if (found->second.size() != count) throw Invalid(text("`", name, "` has ", found->second.size(), " values, not ", count), path);
    return found->second;
}

}  // namespace shadowdiffusion
