#include "gpu/cuda.h"

#include <array>
#include <bit>
#include <fstream>

#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr double MIB = 1 << 20;

// The driver's own version, or, where the kernel does not say, the CUDA version it supports.
std::string version_of(const CudaDriver& driver) {
    std::ifstream file("/sys/module/nvidia/version");
    if (std::string line; std::getline(file, line) && !line.empty()) return line;
    int version = 0;
    driver.cuDriverGetVersion.call(&version);
    return text("CUDA ", version / 1000, ".", version % 1000 / 10);
}

}  // namespace

CudaDriver::CudaDriver()
    : library("the NVIDIA driver", library_candidates("SHADOWDIFFUSION_CUDA_DRIVER", "", {"libcuda.so.1"}),
              "use a CPU backend") {}

std::string Gpu::title() const { return text(name, ", SM ", sm, ", driver ", driver); }

Cuda::Cuda() {
    call(driver_.cuInit, 0u);
    call(driver_.cuDeviceGet, &device_, 0);
    std::array<char, 256> name{};
    call(driver_.cuDeviceGetName, name.data(), static_cast<int>(name.size()), device_);
    int major = 0, minor = 0;
    call(driver_.cuDeviceGetAttribute, &major, CUDA_CAPABILITY_MAJOR, device_);
    call(driver_.cuDeviceGetAttribute, &minor, CUDA_CAPABILITY_MINOR, device_);
    gpu_ = {name.data(), 10 * major + minor, version_of(driver_)};
    call(driver_.cuDevicePrimaryCtxRetain, &context_, device_);
    try {
        const Scope scope(*this);
        call(driver_.cuStreamCreate, &stream_, CUDA_STREAM_NON_BLOCKING);
        call(driver_.cuStreamCreate, &upload_stream_, CUDA_STREAM_NON_BLOCKING);
    } catch (const RestoreError&) {
        if (stream_) release(driver_.cuStreamDestroy, stream_);
        driver_.cuDevicePrimaryCtxRelease.call(device_);
        throw;
    }
}

Cuda::~Cuda() {
    release(driver_.cuStreamDestroy, upload_stream_);
    release(driver_.cuStreamDestroy, stream_);
    driver_.cuDevicePrimaryCtxRelease.call(device_);
}

Cuda::Scope::Scope(const Cuda& cuda) : cuda_(cuda) { cuda.call(cuda.driver_.cuCtxPushCurrent, cuda.context_); }

Cuda::Scope::~Scope() {
    CudaContext popped;
    cuda_.driver_.cuCtxPopCurrent.call(&popped);
}

void Cuda::upload(CudaAddress target, std::span<const std::byte> source, CudaStream stream) const {
    call(driver_.cuMemcpyHtoDAsync, target, static_cast<const void*>(source.data()), source.size(), stream);
}

void Cuda::download(std::span<std::byte> target, CudaAddress source) const {
    call(driver_.cuMemcpyDtoHAsync, static_cast<void*>(target.data()), source, target.size(), stream_);
}

void Cuda::copy(CudaAddress target, CudaAddress source, std::size_t bytes) const {
    call(driver_.cuMemcpyDtoDAsync, target, source, bytes, stream_);
}

void Cuda::fill(CudaAddress target, float value, std::size_t count) const {
    call(driver_.cuMemsetD32Async, target, std::bit_cast<unsigned>(value), count, stream_);
}

void Cuda::synchronize() const { call(driver_.cuStreamSynchronize, stream_); }

void Cuda::settle() const noexcept {
    for (const CudaStream stream : {upload_stream_, stream_}) release(driver_.cuStreamSynchronize, stream);
}

void Cuda::check(const char* name, CudaResult result) const {
    if (result == 0) return;
    const char* reason = nullptr;
    driver_.cuGetErrorName.call(result, &reason);
    const std::string why = reason ? std::string(reason) : text("error ", result);
    throw RestoreError(text("the GPU cannot be used: ", name, " failed with ", why, "; use a CPU backend"));
}

DeviceBuffer::DeviceBuffer(const Cuda& cuda, std::size_t size) : cuda_(&cuda), size_(size) {
    const CudaResult result = cuda.driver().cuMemAlloc.call(&address_, size);
    if (result == CUDA_OUT_OF_MEMORY) {
        std::size_t free = 0, total = 0;
        cuda.call(cuda.driver().cuMemGetInfo, &free, &total);
        const auto mib = [](std::size_t bytes) { return static_cast<std::size_t>(static_cast<double>(bytes) / MIB + 0.5); };
        throw OutOfMemoryError(text("GPU memory ran out (", mib(size), " MiB are needed, ", mib(free), " of ", mib(total),
                                    " MiB are free): ", GPU_ADVICE));
    }
    cuda.check(cuda.driver().cuMemAlloc.name, result);
}

PinnedBuffer::PinnedBuffer(const Cuda& cuda, std::size_t size) : cuda_(cuda), size_(size) {
    cuda.call(cuda.driver().cuMemHostAlloc, &memory_, size, 0u);
}

DeviceEvent::DeviceEvent(const Cuda& cuda) : cuda_(cuda) { cuda.call(cuda.driver().cuEventCreate, &handle_, 0u); }

double DeviceEvent::seconds_since(const DeviceEvent& start) const {
    float milliseconds = 0;
    cuda_.call(cuda_.driver().cuEventElapsedTime, &milliseconds, start.handle_, handle_);
    return static_cast<double>(milliseconds) / 1000;
}

}  // namespace shadowdiffusion
