// One way in and out of the GPU: pinned host memory for photos and results, so that copies run beside the GPU's work. Twin
// of runtime/gpu/slot.py.
//
// Two of them let the photos of one batch go up while the GPU is at the batch before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "gpu/cuda.h"
#include "loop/loop.h"

namespace shadowdiffusion {

// Bytes before each tensor in a block of memory that goes up or comes down, for so many images of `area` pixels.
struct Incoming {
    Incoming(std::size_t images, std::size_t area);
    std::size_t y, stream, mask, size;
};
struct Outgoing {
    Outgoing(std::size_t images, std::size_t area);
    std::size_t x, clean, h, refined, size;
};

class Slot {
  public:
    // For images that are padded to `padded` pixels. first_in, first_out: where on the device what goes up and comes
    // down begins. cuda, incoming and outgoing must outlive it. Throws OutOfMemoryError.
    Slot(const Cuda& cuda, const Incoming& incoming, const Outgoing& outgoing, Size padded, CudaAddress first_in,
         CudaAddress first_out);

    // Queue the upload beside the stream's work, and let the stream's coming work find it in place. Images of one size,
    // all with masks or all without; what this slot sent before must have come back.
    void send(std::span<const WorkingImage> images, std::uint64_t seed) const;

    // Queue the download; after `ended.synchronize` the results are in `result`.
    void receive(bool with_mask) const;

    // What came down for one of the images, from an offset of `Outgoing`; valid until the slot is used again.
    ConstPlanes result(std::size_t offset, std::size_t channels, std::size_t image) const;

    // Passed by the stream before the networks, after the prior, and when all results are in host memory.
    const DeviceEvent started, between, ended;

  private:
    Planes room(std::size_t offset, std::size_t channels, std::size_t image) const;

    const Cuda& cuda_;
    const Incoming& incoming_;
    const Outgoing& outgoing_;
    const Size padded_;
    const CudaAddress first_in_, first_out_;
    const PinnedBuffer up_, down_;
    const DeviceBuffer landing_;
    const DeviceEvent uploaded_;
};

}  // namespace shadowdiffusion
