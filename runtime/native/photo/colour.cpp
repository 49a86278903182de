#include "photo/colour.h"

#include <lcms2.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "errors.h"

namespace shadowdiffusion {
namespace {

using Profile = std::span<const std::uint8_t>;

// Values a side of a grid of colours all over the cube: a profile that leaves these alone is sRGB, whatever its bytes.
constexpr std::size_t PROBE = 9;

using Opened = std::unique_ptr<void, decltype(&cmsCloseProfile)>;

Opened opened(Profile profile) {
    return {cmsOpenProfileFromMem(profile.data(), static_cast<cmsUInt32Number>(profile.size())), &cmsCloseProfile};
}

// Converts float colours in [0, 1] between a profile, of 1 or 3 bands, and sRGB; throws PhotoError where it cannot.
class Conversion {
  public:
    enum class Way { to_srgb, from_srgb };

    Conversion(Profile profile, std::size_t bands, Way way) : transform_(nullptr, &cmsDeleteTransform) {
        const Opened own = opened(profile), srgb(cmsCreate_sRGBProfile(), &cmsCloseProfile);
        const cmsColorSpaceSignature space = bands == 3 ? cmsSigRgbData : cmsSigGrayData;
        if (!own || !srgb || cmsGetColorSpace(own.get()) != space)
            throw PhotoError("a colour profile is damaged, or for other pixels");
        const cmsUInt32Number own_type = bands == 3 ? TYPE_RGB_FLT : TYPE_GRAY_FLT;
        // not optimised, which would be by a table of few entries; XYZ and Lab of floats have no limits
        const cmsUInt32Number flags = cmsFLAGS_BLACKPOINTCOMPENSATION | cmsFLAGS_NOOPTIMIZE | cmsFLAGS_NOCACHE;
        constexpr cmsUInt32Number intent = INTENT_RELATIVE_COLORIMETRIC;
        transform_.reset(way == Way::to_srgb
                             ? cmsCreateTransform(own.get(), own_type, srgb.get(), TYPE_RGB_FLT, intent, flags)
                             : cmsCreateTransform(srgb.get(), TYPE_RGB_FLT, own.get(), own_type, intent, flags));
        if (!transform_) throw PhotoError("a colour profile cannot be converted to or from");
    }

    void operator()(std::span<const float> from, std::span<float> to, std::size_t pixels) const {
        cmsDoTransform(transform_.get(), from.data(), to.data(), static_cast<cmsUInt32Number>(pixels));
        for (float& value : to) value = std::clamp(value, 0.0f, 1.0f);
    }

  private:
    std::unique_ptr<void, decltype(&cmsDeleteTransform)> transform_;
};

std::vector<float> probe() {
    std::vector<float> colours;
    for (std::size_t g = 0; g < PROBE; ++g)
        for (std::size_t r = 0; r < PROBE; ++r)
            for (std::size_t b = 0; b < PROBE; ++b)
                for (const std::size_t value : {r, g, b})
                    colours.push_back(static_cast<float>(value) / static_cast<float>(PROBE - 1));
    return colours;
}

}  // namespace

void ProfileColours::to_srgb(std::span<const float> own, std::size_t height, std::size_t width, std::size_t bands,
                             std::span<float> srgb) const {
    Conversion(profile_, bands, Conversion::Way::to_srgb)(own, srgb, height * width);
}

void ProfileColours::from_srgb(std::span<const float> srgb, std::size_t height, std::size_t width, std::size_t bands,
                               std::span<float> own) const {
    Conversion(profile_, bands, Conversion::Way::from_srgb)(srgb, own, height * width);
}

Verdict judge(Profile profile, std::size_t bands) {
    if (profile.size() < 4) return Verdict::unusable;
    std::size_t said = 0;
    for (const std::uint8_t byte : profile.first(4)) said = said << 8 | byte;
    if (said != profile.size()) return Verdict::unusable;  // cut short; what PNG does not take
    const std::vector<float> colours = probe();
    constexpr std::size_t count = PROBE * PROBE * PROBE;
    std::vector<float> own(count * bands), back(count * 3);
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = colours[i / bands * 3 + i % bands];
    try {
        const Conversion there(profile, bands, Conversion::Way::from_srgb);  // some have but one direction
        Conversion(profile, bands, Conversion::Way::to_srgb)(own, back, count);
    } catch (const PhotoError&) {
        return Verdict::unusable;
    }
    float most = 0;
    for (std::size_t i = 0; i < back.size(); ++i)
        most = std::max(most, std::abs(back[i] - own[bands == 3 ? i : i / 3]));
    return most < 0.5f / 255 ? Verdict::srgb : Verdict::own;
}

}  // namespace shadowdiffusion
