// The declarations of gpu/cuda_driver.h are those of cuda.h, as far as the machine code can tell: this file is compiled
// where that header is.
#include <cuda.h>

#include <doctest/doctest.h>

#include <type_traits>

#include "gpu/cuda_driver.h"

using namespace shadowdiffusion;

namespace {

template <class Ours, class Theirs>
constexpr bool passed_alike() {
    if constexpr (std::is_pointer_v<Ours>)
        return std::is_pointer_v<Theirs>;
    else if constexpr (std::is_enum_v<Theirs>)
        return std::is_integral_v<Ours> && sizeof(Ours) == sizeof(Theirs);
    else
        return std::is_same_v<Ours, Theirs>;
}

template <class... Ours, class... Theirs>
constexpr bool same(const CudaFunctionOf<Ours...>*, CUresult (*)(Theirs...)) {
    if constexpr (sizeof...(Ours) != sizeof...(Theirs))
        return false;
    else
        return (passed_alike<Ours, Theirs>() && ...);
}

#define SAME(OURS, THEIRS) static_assert(same(static_cast<decltype(CudaDriver::OURS)*>(nullptr), &THEIRS))
SAME(cuInit, cuInit);
SAME(cuDriverGetVersion, cuDriverGetVersion);
SAME(cuGetErrorName, cuGetErrorName);
SAME(cuDeviceGet, cuDeviceGet);
SAME(cuDeviceGetName, cuDeviceGetName);
SAME(cuDeviceGetAttribute, cuDeviceGetAttribute);
SAME(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain);
SAME(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease);
SAME(cuCtxPushCurrent, cuCtxPushCurrent);
SAME(cuCtxPopCurrent, cuCtxPopCurrent);
SAME(cuStreamCreate, cuStreamCreate);
SAME(cuStreamDestroy, cuStreamDestroy);
SAME(cuStreamSynchronize, cuStreamSynchronize);
SAME(cuStreamWaitEvent, cuStreamWaitEvent);
SAME(cuStreamBeginCapture, cuStreamBeginCapture);
SAME(cuStreamEndCapture, cuStreamEndCapture);
SAME(cuGraphDestroy, cuGraphDestroy);
SAME(cuGraphInstantiate, cuGraphInstantiateWithFlags);
SAME(cuGraphLaunch, cuGraphLaunch);
SAME(cuGraphExecDestroy, cuGraphExecDestroy);
SAME(cuEventCreate, cuEventCreate);
SAME(cuEventDestroy, cuEventDestroy);
SAME(cuEventRecord, cuEventRecord);
SAME(cuEventSynchronize, cuEventSynchronize);
SAME(cuEventElapsedTime, cuEventElapsedTime);
SAME(cuMemGetInfo, cuMemGetInfo);
SAME(cuMemAlloc, cuMemAlloc);
SAME(cuMemFree, cuMemFree);
SAME(cuMemHostAlloc, cuMemHostAlloc);
SAME(cuMemFreeHost, cuMemFreeHost);
SAME(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync);
SAME(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync);
SAME(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync);
SAME(cuMemsetD32Async, cuMemsetD32Async);
SAME(cuModuleLoadData, cuModuleLoadData);
SAME(cuModuleUnload, cuModuleUnload);
SAME(cuModuleGetFunction, cuModuleGetFunction);
SAME(cuFuncSetAttribute, cuFuncSetAttribute);
SAME(cuLaunchKernel, cuLaunchKernel);
#undef SAME

static_assert(std::is_same_v<CudaAddress, CUdeviceptr> && sizeof(CudaResult) == sizeof(CUresult));

}  // namespace

TEST_CASE("values are those of cuda.h") {
    CHECK(CUDA_OUT_OF_MEMORY == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(CUDA_CAPABILITY_MAJOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    CHECK(CUDA_CAPABILITY_MINOR == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    CHECK(CUDA_MAX_DYNAMIC_SHARED == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
    CHECK(CUDA_STREAM_NON_BLOCKING == CU_STREAM_NON_BLOCKING);
    CHECK(CUDA_CAPTURE_THREAD_LOCAL == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
    CHECK(CUDA_LAUNCH_BUFFER == CU_LAUNCH_PARAM_BUFFER_POINTER);
    CHECK(CUDA_LAUNCH_BUFFER_SIZE == CU_LAUNCH_PARAM_BUFFER_SIZE);
}
