// What the colours of a photo are: from its own encoding, which an ICC profile may describe, to sRGB, which the networks
// know, and back. Here, pixels are sRGB already, and grey is repeated; photo/ has the rest.
#pragma once

#include <cstddef>
#include <span>

namespace shadowdiffusion {

class Colours {
  public:
    virtual ~Colours() = default;

    // What the networks see: float [height, width, bands] in [0, 1] in the photo's own encoding -> sRGB-encoded
    // [height, width, 3] in [0, 1]. bands is 1 or 3. May throw PhotoError.
    virtual void to_srgb(std::span<const float> own, std::size_t height, std::size_t width, std::size_t bands,
                         std::span<float> srgb) const;

    // The inverse: sRGB-encoded float [height, width, 3] in [0, 1] -> [height, width, bands] in the photo's encoding.
    virtual void from_srgb(std::span<const float> srgb, std::size_t height, std::size_t width, std::size_t bands,
                           std::span<float> own) const;
};

}  // namespace shadowdiffusion
