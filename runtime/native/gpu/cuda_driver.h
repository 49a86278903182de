// The part of the CUDA driver that is used, declared here and opened when the program runs: neither the build nor the
// program needs the CUDA toolkit. Types and values are those of cuda.h, with which a test compares them where it is.
#pragma once

#include <cstddef>

#include "shared_library.h"

namespace shadowdiffusion {

using CudaResult = int;
using CudaDevice = int;
using CudaAddress = unsigned long long;  // of device memory
using CudaContext = struct CudaContextHandle*;
using CudaStream = struct CudaStreamHandle*;
using CudaEvent = struct CudaEventHandle*;
using CudaModule = struct CudaModuleHandle*;
using CudaFunction = struct CudaFunctionHandle*;
using CudaGraph = struct CudaGraphHandle*;
using CudaGraphExec = struct CudaGraphExecHandle*;

inline constexpr CudaResult CUDA_OUT_OF_MEMORY = 2;
inline constexpr int CUDA_CAPABILITY_MAJOR = 75, CUDA_CAPABILITY_MINOR = 76;  // device attributes
inline constexpr int CUDA_MAX_DYNAMIC_SHARED = 8;                            // function attribute, bytes
inline constexpr unsigned CUDA_STREAM_NON_BLOCKING = 1;
inline constexpr int CUDA_CAPTURE_THREAD_LOCAL = 1;  // what this thread must not do during a capture is refused

// Arguments of kernels as one block of memory, which cuLaunchKernel copies.
inline void* const CUDA_LAUNCH_BUFFER = reinterpret_cast<void*>(1);
inline void* const CUDA_LAUNCH_BUFFER_SIZE = reinterpret_cast<void*>(2);

// A function of the driver by its name in the library.
template <class... Parameters>
struct CudaFunctionOf {
    using Pointer = CudaResult (*)(Parameters...);
    CudaFunctionOf(const SharedLibrary& library, const char* of) : name(of), call(library.function<Pointer>(of)) {}
    const char* name;
    Pointer call;
};

// libcuda.so.1, or the library that the environment variable SHADOWDIFFUSION_CUDA_DRIVER names. Throws RestoreError.
struct CudaDriver {
    CudaDriver();

    SharedLibrary library;
    CudaFunctionOf<unsigned> cuInit{library, "cuInit"};
    CudaFunctionOf<int*> cuDriverGetVersion{library, "cuDriverGetVersion"};
    CudaFunctionOf<CudaResult, const char**> cuGetErrorName{library, "cuGetErrorName"};
    CudaFunctionOf<CudaDevice*, int> cuDeviceGet{library, "cuDeviceGet"};
    CudaFunctionOf<char*, int, CudaDevice> cuDeviceGetName{library, "cuDeviceGetName"};
    CudaFunctionOf<int*, int, CudaDevice> cuDeviceGetAttribute{library, "cuDeviceGetAttribute"};
    CudaFunctionOf<CudaContext*, CudaDevice> cuDevicePrimaryCtxRetain{library, "cuDevicePrimaryCtxRetain"};
    CudaFunctionOf<CudaDevice> cuDevicePrimaryCtxRelease{library, "cuDevicePrimaryCtxRelease_v2"};
    CudaFunctionOf<CudaContext> cuCtxPushCurrent{library, "cuCtxPushCurrent_v2"};
    CudaFunctionOf<CudaContext*> cuCtxPopCurrent{library, "cuCtxPopCurrent_v2"};
    CudaFunctionOf<CudaStream*, unsigned> cuStreamCreate{library, "cuStreamCreate"};
    CudaFunctionOf<CudaStream> cuStreamDestroy{library, "cuStreamDestroy_v2"};
    CudaFunctionOf<CudaStream> cuStreamSynchronize{library, "cuStreamSynchronize"};
    CudaFunctionOf<CudaStream, CudaEvent, unsigned> cuStreamWaitEvent{library, "cuStreamWaitEvent"};
    CudaFunctionOf<CudaStream, int> cuStreamBeginCapture{library, "cuStreamBeginCapture_v2"};
    CudaFunctionOf<CudaStream, CudaGraph*> cuStreamEndCapture{library, "cuStreamEndCapture"};
    CudaFunctionOf<CudaGraph> cuGraphDestroy{library, "cuGraphDestroy"};
    CudaFunctionOf<CudaGraphExec*, CudaGraph, unsigned long long> cuGraphInstantiate{library, "cuGraphInstantiateWithFlags"};
    CudaFunctionOf<CudaGraphExec, CudaStream> cuGraphLaunch{library, "cuGraphLaunch"};
    CudaFunctionOf<CudaGraphExec> cuGraphExecDestroy{library, "cuGraphExecDestroy"};
    CudaFunctionOf<CudaEvent*, unsigned> cuEventCreate{library, "cuEventCreate"};
    CudaFunctionOf<CudaEvent> cuEventDestroy{library, "cuEventDestroy_v2"};
    CudaFunctionOf<CudaEvent, CudaStream> cuEventRecord{library, "cuEventRecord"};
    CudaFunctionOf<CudaEvent> cuEventSynchronize{library, "cuEventSynchronize"};
    CudaFunctionOf<float*, CudaEvent, CudaEvent> cuEventElapsedTime{library, "cuEventElapsedTime"};
    CudaFunctionOf<std::size_t*, std::size_t*> cuMemGetInfo{library, "cuMemGetInfo_v2"};
    CudaFunctionOf<CudaAddress*, std::size_t> cuMemAlloc{library, "cuMemAlloc_v2"};
    CudaFunctionOf<CudaAddress> cuMemFree{library, "cuMemFree_v2"};
    CudaFunctionOf<void**, std::size_t, unsigned> cuMemHostAlloc{library, "cuMemHostAlloc"};
    CudaFunctionOf<void*> cuMemFreeHost{library, "cuMemFreeHost"};
    CudaFunctionOf<CudaAddress, const void*, std::size_t, CudaStream> cuMemcpyHtoDAsync{library, "cuMemcpyHtoDAsync_v2"};
    CudaFunctionOf<void*, CudaAddress, std::size_t, CudaStream> cuMemcpyDtoHAsync{library, "cuMemcpyDtoHAsync_v2"};
    CudaFunctionOf<CudaAddress, CudaAddress, std::size_t, CudaStream> cuMemcpyDtoDAsync{library, "cuMemcpyDtoDAsync_v2"};
    CudaFunctionOf<CudaAddress, unsigned, std::size_t, CudaStream> cuMemsetD32Async{library, "cuMemsetD32Async"};
    CudaFunctionOf<CudaModule*, const void*> cuModuleLoadData{library, "cuModuleLoadData"};
    CudaFunctionOf<CudaModule> cuModuleUnload{library, "cuModuleUnload"};
    CudaFunctionOf<CudaFunction*, CudaModule, const char*> cuModuleGetFunction{library, "cuModuleGetFunction"};
    CudaFunctionOf<CudaFunction, int, int> cuFuncSetAttribute{library, "cuFuncSetAttribute"};
    CudaFunctionOf<CudaFunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CudaStream, void**,
                   void**>
        cuLaunchKernel{library, "cuLaunchKernel"};
};

}  // namespace shadowdiffusion
