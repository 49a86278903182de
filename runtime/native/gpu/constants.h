// What every restoration with the same steps reads on the device: uploaded once, kept, never written again. Twin of
// runtime/gpu/constants.py.
#pragma once

#include <span>

#include "bundle/manifest.h"
#include "gpu/cuda.h"
#include "gpu/device_networks.h"

namespace shadowdiffusion {

class DeviceConstants {
  public:
    // images: that the denoiser takes at once. networks must outlive it; their context is that of the thread.
    DeviceConstants(const DeviceNetworks& networks, const Manifest& manifest, std::span<const Step> table,
                    std::size_t images);

    // Addresses of the schedule; of epsilon, floor and ceiling of h; of the matte's threshold; and of the factors of
    // noise and of the prior's image in the first state.
    CudaAddress table() const { return buffer_.address() + places_.table; }
    CudaAddress limits() const { return buffer_.address() + places_.limits; }
    CudaAddress threshold() const { return buffer_.address() + places_.threshold; }
    CudaAddress start() const { return buffer_.address() + places_.start; }

    // Of the number of a step.
    CudaAddress index(std::size_t step) const { return buffer_.address() + places_.index + step * INDEX_BYTES; }

    // Of the `time_size` bytes that the denoiser is told about time at a step.
    CudaAddress time(std::size_t step) const { return buffer_.address() + places_.times + step * places_.time_stride; }
    std::size_t time_size() const { return places_.time_size; }

  private:
    static constexpr std::size_t INDEX_BYTES = 16;  // kernels take addresses that are multiples of this

    // Bytes before each.
    struct Places {
        Places(std::size_t steps, std::size_t time_size);
        std::size_t time_size, time_stride, table, index, times, limits, threshold, start, size;
    };

    Places places_;
    DeviceBuffer buffer_;
};

}  // namespace shadowdiffusion
