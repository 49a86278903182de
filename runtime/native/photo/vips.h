// libvips with owners: images, sources, targets and buffers that free themselves, and its errors as exceptions.
#pragma once

#include <vips/vips.h>

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace shadowdiffusion::vips {

struct Unref {
    void operator()(void* object) const { g_object_unref(object); }
};
struct Free {
    void operator()(void* memory) const { g_free(memory); }
};
using Image = std::unique_ptr<VipsImage, Unref>;
using Source = std::unique_ptr<VipsSource, Unref>;
using Target = std::unique_ptr<VipsTarget, Unref>;
using Bytes = std::vector<std::uint8_t>;

// What libvips says went wrong: the line that says most.
class Failure : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Start libvips, once; every function here that could be the first does. Throws Failure.
void start();

// Threads that libvips computes with, for all that begins later.
void use_threads(int count);

// Throw Failure unless an operation of libvips returned 0.
void check(int failed);

// Take over the result of a constructor of libvips. Throws Failure for null.
template <class Owner>
Owner owned(typename Owner::pointer made) {
    if (made == nullptr) check(-1);
    return Owner(made);
}

// Call an operation of libvips that makes an image; `operation(VipsImage** out)` returns 0 when it did.
template <class Operation>
Image made(Operation operation) {
    VipsImage* out = nullptr;
    check(operation(&out));
    return Image(out);
}

// A source that reads `data`, which must outlive whatever reads it.
Source source_of(std::span<const std::uint8_t> data);

// An image on pixels [height, width, bands] that must outlive it.
Image view(const void* pixels, std::size_t height, std::size_t width, std::size_t bands, VipsBandFormat format);

// A blob field, empty where there is none.
std::span<const std::uint8_t> blob(VipsImage* image, const char* field);

// Set a blob field to a copy of `data`.
void set_blob(VipsImage* image, const char* field, std::span<const std::uint8_t> data);

}  // namespace shadowdiffusion::vips
