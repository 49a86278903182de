// Memory, a stream and events of a GPU, from the CUDA driver itself. Twin of runtime/gpu/cuda.py.
//
// Not run on a GPU yet: the tests give it a driver made of C++ functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gpu/cuda_driver.h"

namespace shadowdiffusion {

inline constexpr std::string_view GPU_ADVICE = "use a smaller working size, or end other programs on the GPU";

// name as the driver gives it; sm: 89 for compute capability 8.9; driver: its version, such as 580.65.06.
struct Gpu {
    std::string name;
    int sm = 0;
    std::string driver;

    // For people, and to remember checks by.
    std::string title() const;
};

// The first GPU that CUDA programs see (CUDA_VISIBLE_DEVICES counts), its primary context, which TensorRT uses too, a
// stream, and another one for what goes up meanwhile. Calls may come from any thread within a Scope. Throws RestoreError where there is no driver or no GPU, and
// from every call that the driver refuses.
class Cuda {
  public:
    Cuda();
    ~Cuda();
    Cuda(const Cuda&) = delete;
    Cuda& operator=(const Cuda&) = delete;

    // Makes the context that of the calling thread, which needs it before anything else here, and gives back its own.
    class Scope {
      public:
        explicit Scope(const Cuda& cuda);
        ~Scope();
        Scope(const Scope&) = delete;
        Scope& operator=(const Scope&) = delete;

      private:
        const Cuda& cuda_;
    };

    const Gpu& gpu() const { return gpu_; }
    const CudaDriver& driver() const { return driver_; }
    CudaStream stream() const { return stream_; }
    CudaStream upload_stream() const { return upload_stream_; }

    // Queue a copy to the device; the source must live until the stream was waited for.
    void upload(CudaAddress target, std::span<const std::byte> source) const { upload(target, source, stream_); }
    void upload(CudaAddress target, std::span<const std::byte> source, CudaStream stream) const;
    // Queue a copy from the device, which is in `target` after `synchronize`.
    void download(std::span<std::byte> target, CudaAddress source) const;
    // Queue a copy within the device.
    void copy(CudaAddress target, CudaAddress source, std::size_t bytes) const;
    // Queue `count` floats of one value.
    void fill(CudaAddress target, float value, std::size_t count) const;
    // Wait for the stream. What went wrong on the device is thrown here.
    void synchronize() const;
    // Wait for both streams, whatever became of their work: memory that it used may then be used again.
    void settle() const noexcept;

    // Call a function of the driver. Throws RestoreError if it fails.
    template <class... Parameters, class... Arguments>
    void call(const CudaFunctionOf<Parameters...>& function, Arguments... arguments) const {
        check(function.name, function.call(arguments...));
    }

    // End something by the driver's function for it, which may fail: nothing can be done about it.
    template <class... Parameters, class... Arguments>
    void release(const CudaFunctionOf<Parameters...>& function, Arguments... arguments) const noexcept {
        driver_.cuCtxPushCurrent.call(context_);
        function.call(arguments...);
        CudaContext popped;
        driver_.cuCtxPopCurrent.call(&popped);
    }

    // Throws RestoreError unless `result` is success.
    void check(const char* name, CudaResult result) const;

  private:
    CudaDriver driver_;
    CudaDevice device_ = 0;
    CudaContext context_ = nullptr;
    CudaStream stream_ = nullptr, upload_stream_ = nullptr;
    Gpu gpu_;
};

// Device memory, freed with the object. Throws OutOfMemoryError with the figures where there is not enough.
class DeviceBuffer {
  public:
    DeviceBuffer(const Cuda& cuda, std::size_t size);
    ~DeviceBuffer() { if (address_) cuda_->release(cuda_->driver().cuMemFree, address_); }
    DeviceBuffer(DeviceBuffer&& other) noexcept
        : cuda_(other.cuda_), address_(std::exchange(other.address_, 0)), size_(other.size_) {}
    DeviceBuffer& operator=(DeviceBuffer&&) = delete;

    CudaAddress address() const { return address_; }
    std::size_t size() const { return size_; }

  private:
    const Cuda* cuda_;
    CudaAddress address_ = 0;
    std::size_t size_;
};

// Host memory that the GPU reads and writes by itself.
class PinnedBuffer {
  public:
    PinnedBuffer(const Cuda& cuda, std::size_t size);
    ~PinnedBuffer() { cuda_.release(cuda_.driver().cuMemFreeHost, memory_); }
    PinnedBuffer(const PinnedBuffer&) = delete;
    PinnedBuffer& operator=(const PinnedBuffer&) = delete;

    std::span<std::byte> bytes() const { return {static_cast<std::byte*>(memory_), size_}; }

    // `count` values at an offset in bytes, which is a multiple of their size.
    template <class T>
    std::span<T> values(std::size_t offset, std::size_t count) const {
        return {reinterpret_cast<T*>(bytes().subspan(offset, count * sizeof(T)).data()), count};
    }

  private:
    const Cuda& cuda_;
    void* memory_ = nullptr;
    std::size_t size_;
};

// A point in a stream's work that others can wait for, and the time when it was passed.
class DeviceEvent {
  public:
    explicit DeviceEvent(const Cuda& cuda);
    ~DeviceEvent() { cuda_.release(cuda_.driver().cuEventDestroy, handle_); }
    DeviceEvent(const DeviceEvent&) = delete;
    DeviceEvent& operator=(const DeviceEvent&) = delete;

    // Mark what a stream has been given so far.
    void record() const { record(cuda_.stream()); }
    void record(CudaStream stream) const { cuda_.call(cuda_.driver().cuEventRecord, handle_, stream); }

    // Let what a stream is given from now on wait for the event.
    void hold(CudaStream stream) const { cuda_.call(cuda_.driver().cuStreamWaitEvent, stream, handle_, 0u); }

    // Wait for the event. What went wrong on the device is thrown here.
    void synchronize() const { cuda_.call(cuda_.driver().cuEventSynchronize, handle_); }

    // Time between two events that have passed.
    double seconds_since(const DeviceEvent& start) const;

  private:
    const Cuda& cuda_;
    CudaEvent handle_ = nullptr;
};

}  // namespace shadowdiffusion
