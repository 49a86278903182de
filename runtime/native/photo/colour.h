// Colours that an ICC profile describes, to sRGB, which the networks know, and back. Twin of runtime/photo/colour.py.
//
// By Little CMS itself: libvips before 8.15 imports 16 bits as 8 and does not export XYZ right. Relative colorimetric
// with black point compensation in both directions, so that a way there and back changes nothing but what sRGB cannot
// hold, which is clipped.
#pragma once

#include <cstdint>
#include <span>

#include "photo/colours.h"

namespace shadowdiffusion {

class ProfileColours final : public Colours {
  public:
    // profile: ICC, which must outlive this, and of which `judge` says "own".
    explicit ProfileColours(std::span<const std::uint8_t> profile) : profile_(profile) {}

    void to_srgb(std::span<const float> own, std::size_t height, std::size_t width, std::size_t bands,
                 std::span<float> srgb) const override;
    void from_srgb(std::span<const float> srgb, std::size_t height, std::size_t width, std::size_t bands,
                   std::span<float> own) const override;

  private:
    std::span<const std::uint8_t> profile_;
};

// What an embedded ICC profile says of pixels with 1 (grey) or 3 bands: that they are sRGB, or colours of their own
// that can be converted both ways. Where it is unusable for that, they are best taken for sRGB.
enum class Verdict { srgb, own, unusable };
Verdict judge(std::span<const std::uint8_t> profile, std::size_t bands);

}  // namespace shadowdiffusion
