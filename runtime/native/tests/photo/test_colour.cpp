// Colours of ICC profiles, to sRGB and back.

#include <doctest/doctest.h>
#include <lcms2.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>

#include "photo/adobe_rgb.h"
#include "photo/colour.h"
#include "photo/encoding.h"
#include "photo/metadata.h"
#include "photo/reading.h"
#include "pictures.h"

using namespace shadowdiffusion;

namespace {

std::vector<std::uint8_t> from_libvips(const char* name) {
    vips::start();
    VipsBlob* blob = nullptr;
    vips::check(vips_profile_load(name, &blob, nullptr));
    std::size_t size = 0;
    const auto* data = static_cast<const std::uint8_t*>(vips_blob_get(blob, &size));
    std::vector<std::uint8_t> profile(data, data + size);
    vips_area_unref(VIPS_AREA(blob));
    return profile;
}

// The one that Little CMS makes, which has the time in it.
std::vector<std::uint8_t> make_srgb() {
    const std::unique_ptr<void, decltype(&cmsCloseProfile)> profile(cmsCreate_sRGBProfile(), &cmsCloseProfile);
    cmsUInt32Number size = 0;
    cmsSaveProfileToMem(profile.get(), nullptr, &size);
    std::vector<std::uint8_t> bytes(size);
    cmsSaveProfileToMem(profile.get(), bytes.data(), &size);
    return bytes;
}

const std::vector<std::uint8_t>& srgb() {
    static const std::vector<std::uint8_t> once = make_srgb();
    return once;
}

double encoded(double light) {
    light = std::clamp(light, 0.0, 1.0);
    return light <= 0.0031308 ? 12.92 * light : 1.055 * std::pow(light, 1 / 2.4) - 0.055;
}

}  // namespace

TEST_CASE("profiles are told apart") {
    CHECK(judge(srgb(), 3) == Verdict::srgb);
    CHECK(judge(from_libvips("p3"), 3) == Verdict::own);
    CHECK(judge(adobe_rgb(), 3) == Verdict::own);
    CHECK(judge(adobe_rgb(), 1) == Verdict::unusable);  // for other pixels
    CHECK(judge(from_libvips("cmyk"), 3) == Verdict::unusable);
    auto cut = adobe_rgb();
    cut.resize(cut.size() - 4);
    CHECK(judge(cut, 3) == Verdict::unusable);
    CHECK(judge({}, 3) == Verdict::unusable);
}

TEST_CASE("Adobe RGB becomes what its definition says, and comes back") {
    const auto profile = adobe_rgb();
    const ProfileColours colours(profile);
    // linear Adobe RGB (1998) to linear sRGB, both D65
    const std::array<std::array<double, 3>, 3> matrix{
        {{1.39836, -0.39836, 0.0}, {0.0, 1.0, 0.0}, {0.0, -0.04293, 1.04293}}};
    std::vector<float> own, expected;
    for (int r = 4; r < 8; ++r)
        for (int g = 4; g < 8; ++g)
            for (int b = 4; b < 8; ++b) {
                const std::array<double, 3> value{r / 10.0, g / 10.0, b / 10.0};
                for (std::size_t c = 0; c < 3; ++c) {
                    double light = 0;
                    for (std::size_t k = 0; k < 3; ++k) light += matrix[c][k] * std::pow(value[k], 563.0 / 256);
                    own.push_back(static_cast<float>(value[c]));
                    expected.push_back(static_cast<float>(encoded(light)));
                }
            }
    std::vector<float> srgb(own.size()), back(own.size());
    colours.to_srgb(own, 8, 8, 3, srgb);
    colours.from_srgb(srgb, 8, 8, 3, back);
    float off = 0, lost = 0;
    for (std::size_t i = 0; i < own.size(); ++i) {
        off = std::max(off, std::abs(srgb[i] - expected[i]));
        if (expected[i] > 0 && expected[i] < 1) lost = std::max(lost, std::abs(back[i] - own[i]));
    }
    CHECK(off < 0.004f);
    CHECK(lost < 0.02f);  // some of these colours lie outside of sRGB
}

TEST_CASE("a photo carries the profile of its own colours, and none that is sRGB") {
    for (const Format form : FORMATS) {
        CAPTURE(std::string(name_of(form)));
        Photo photo = blocks(16, 16);
        photo.metadata[ICC] = {false, adobe_rgb()};
        Photo back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
        CHECK(back.profile == adobe_rgb());
        CHECK(back.metadata.at(ICC).value == adobe_rgb());
        photo.metadata[ICC].value = srgb();
        back = read_photo(encode_photo(photo, form, {}, "encode"), "it");
        CHECK(back.profile.empty());
        CHECK(back.metadata.at(ICC).value == srgb());
    }
}

TEST_CASE("a profile that cannot be used is left out, and that is said") {
    Photo photo = blocks(16, 16);
    photo.metadata[ICC] = {false, from_libvips("cmyk")};
    const Photo back = read_photo(encode_photo(photo, Format::tiff, {}, "encode"), "it");
    CHECK(back.profile.empty());
    CHECK(!back.metadata.contains(ICC));
    CHECK(back.warning == "the colour profile of it is unusable: its colours are taken for sRGB");
}
