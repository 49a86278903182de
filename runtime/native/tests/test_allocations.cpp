// The second restoration of photos of one size allocates nothing outside of the networks.
#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "bundle/bundle.h"
#include "fake_networks.h"

namespace {

std::atomic<std::size_t> allocations = 0;

void* counted(std::size_t size, std::size_t alignment) {
    ++allocations;
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

// NOLINTBEGIN: these replace those of the whole test program
void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t to) { return counted(size, static_cast<std::size_t>(to)); }
void* operator new[](std::size_t size, std::align_val_t to) { return counted(size, static_cast<std::size_t>(to)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
// NOLINTEND

using namespace shadowdiffusion;

TEST_CASE("after the first photo of a size, nothing is allocated") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    Pixels photo, mask;
    photo.shape(PixelType::uint8, 900, 1201, 3);
    mask.shape(PixelType::uint8, 900, 1201, 1);
    for (std::size_t i = 0; i < photo.bytes.size(); ++i) photo.bytes[i] = static_cast<std::byte>(i % 251);
    for (std::size_t i = 0; i < mask.bytes.size(); ++i) mask.bytes[i] = static_cast<std::byte>(i % 2 * 255);
    Options options;
    options.with_prior = true;
    options.steps = 3;
    options.progress = [](int, int) { return true; };
    const ImageView view = photo.view(), mask_view = mask.view();
    Restored result;
    for (const ImageView* given : {static_cast<const ImageView*>(nullptr), &mask_view}) {
        restorer->restore(view, given, options, result);
        const std::size_t before = allocations;
        restorer->restore(view, given, options, result);
        CHECK(allocations == before);
    }
    CHECK(allocations > 0);
}
