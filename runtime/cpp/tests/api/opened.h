// A restorer of the C interface, and photos for it.
#pragma once

#include <doctest/doctest.h>
#include <shadowdiffusion.h>

#include <cstddef>
#include <cstdint>
#include <vector>

struct Opened {
    explicit Opened(const char* task = nullptr, const char* backend = nullptr) {
        shadowdiffusion_settings settings;
        shadowdiffusion_settings_init(&settings);
        settings.task = task, settings.backend = backend;
        REQUIRE_MESSAGE(shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_OK, shadowdiffusion_error());
    }
    ~Opened() { shadowdiffusion_close(restorer); }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    shadowdiffusion_restorer* restorer = nullptr;
};

inline std::vector<std::uint8_t> picture(std::size_t count) {
    std::vector<std::uint8_t> pixels(count);
    for (std::size_t i = 0; i < count; ++i) pixels[i] = static_cast<std::uint8_t>((i * 37 + i / 96 * 11) % 256);
    return pixels;
}

inline shadowdiffusion_photo photo_of(const std::vector<std::uint8_t>& pixels, std::size_t height, std::size_t width) {
    return {pixels.data(), SHADOWDIFFUSION_UINT8, height, width, 3, 0};
}
