#include "photo/adobe_rgb.h"

#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

namespace shadowdiffusion {
namespace {

using namespace std::string_view_literals;
using Xyz = std::array<double, 3>;

constexpr const char* INDEX = "exif-ifd4-InteroperabilityIndex";
// adapted to D50, as ICC profiles have them
constexpr Xyz RED{0.60974, 0.31111, 0.01947}, GREEN{0.20528, 0.62567, 0.06087}, BLUE{0.14919, 0.06322, 0.74457};
constexpr Xyz D50{0.9642, 1.0, 0.8249};
constexpr int GAMMA = 563;  // 256ths
constexpr std::string_view NAME = "Compatible with Adobe RGB (1998)\0"sv;

std::string big_endian(std::uint32_t value, int bytes) {
    std::string text;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 0xff);
    return text;
}

std::string fixed(const Xyz& values) {
    std::string text;
    for (const double value : values) text += big_endian(static_cast<std::uint32_t>(std::lround(value * 65536)), 4);
    return text;
}

std::string xyz(const Xyz& values) { return std::string("XYZ \0\0\0\0"sv) + fixed(values); }

}  // namespace

bool says_adobe_rgb(VipsImage* image) {
    const char* index = nullptr;
    return vips_image_get_typeof(image, INDEX) != 0 && vips_image_get_string(image, INDEX, &index) == 0 &&
           std::string_view(index).starts_with("R03");
}

std::vector<std::uint8_t> adobe_rgb() {
    const std::string curve = std::string("curv\0\0\0\0"sv) + big_endian(1, 4) + big_endian(GAMMA, 2);
    const std::string name = std::string("desc\0\0\0\0"sv) + big_endian(NAME.size(), 4) + std::string(NAME);
    const std::array<std::pair<std::string_view, std::string>, 9> tags{{
        {"desc", name + std::string(78, '\0')},
        {"cprt", std::string("text\0\0\0\0No copyright, use freely\0"sv)},
        {"wtpt", xyz(D50)},
        {"rXYZ", xyz(RED)},
        {"gXYZ", xyz(GREEN)},
        {"bXYZ", xyz(BLUE)},
        {"rTRC", curve},
        {"gTRC", curve},
        {"bTRC", curve},
    }};
    std::string table, data;
    const std::uint32_t start = 128 + 4 + 12 * static_cast<std::uint32_t>(tags.size());
    for (const auto& [tag, value] : tags) {
        table += std::string(tag) + big_endian(start + static_cast<std::uint32_t>(data.size()), 4);
        table += big_endian(static_cast<std::uint32_t>(value.size()), 4);
        data += value + std::string((4 - value.size() % 4) % 4, '\0');
    }
    std::string profile = big_endian(start + static_cast<std::uint32_t>(data.size()), 4) + std::string(4, '\0');
    profile += big_endian(0x02400000, 4) + "mntrRGB XYZ ";
    for (const std::uint32_t part : {2000u, 1u, 1u, 0u, 0u, 0u}) profile += big_endian(part, 2);
    profile += "acsp" + std::string(28, '\0') + fixed(D50);
    profile.resize(128, '\0');
    profile += big_endian(static_cast<std::uint32_t>(tags.size()), 4) + table + data;
    return {profile.begin(), profile.end()};
}

}  // namespace shadowdiffusion
