// Where tensors lie beside each other in one block of memory, the same on the device and in its host copy. Twin of
// runtime/gpu/layout.py.
#pragma once

#include <cstddef>

namespace shadowdiffusion {

inline constexpr std::size_t DEVICE_ALIGNMENT = 256;  // bytes, as TensorRT wants addresses

// The next multiple of DEVICE_ALIGNMENT.
constexpr std::size_t device_aligned(std::size_t size) {
    return (size + DEVICE_ALIGNMENT - 1) / DEVICE_ALIGNMENT * DEVICE_ALIGNMENT;
}

// Hands out offsets in bytes.
class Layout {
  public:
    // Room for `bytes` after what was added before.
    std::size_t add(std::size_t bytes) {
        const std::size_t offset = size_;
        size_ += device_aligned(bytes);
        return offset;
    }

    std::size_t size() const { return size_; }

  private:
    std::size_t size_ = 0;
};

}  // namespace shadowdiffusion
