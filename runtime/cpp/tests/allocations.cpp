#include "allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

// NOLINTBEGIN: the linker gives these their names
extern "C" void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
extern "C" __attribute__((visibility("default"))) void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size);
// NOLINTEND

namespace {

std::atomic<std::size_t> counted = 0;

void* allocate(std::size_t size, std::size_t alignment) {
    void* memory = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

}  // namespace

std::size_t allocations() { return counted; }

void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
    ++counted;
    return __real_aligned_alloc(alignment, size);
}

// NOLINTBEGIN: these replace those of the whole test program
void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t to) { return allocate(size, static_cast<std::size_t>(to)); }
void* operator new[](std::size_t size, std::align_val_t to) { return allocate(size, static_cast<std::size_t>(to)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
// NOLINTEND
