// An ONNX Runtime that says it has CUDA, in a library of its own that is found as the real one would be. It is the real one,
// of the CPU, but for what has to do with the device: its memory is that of the fake driver, and runs are work of the
// stream that the session was given.
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "gpu/fake_driver.h"

namespace {

using namespace shadowdiffusion;

std::mutex mutex;  // sessions are opened in threads
std::map<const void*, CudaStream> streams;  // of provider options, session options and sessions
std::set<const void*> on_device, silent;    // what stands for device memory, and options of runs that do not wait

const OrtApiBase& real_base() {
    static const OrtApiBase* const base = [] {
        void* const library = ::dlopen(std::getenv("SHADOWDIFFUSION_REAL_ONNXRUNTIME"), RTLD_NOW | RTLD_LOCAL);
        fake_demand(library != nullptr, "SHADOWDIFFUSION_REAL_ONNXRUNTIME names no library");
        return reinterpret_cast<decltype(&OrtGetApiBase)>(::dlsym(library, "OrtGetApiBase"))();
    }();
    return *base;
}

const OrtApi& real() {
    static const OrtApi* const api = real_base().GetApi(ORT_API_VERSION);
    fake_demand(api != nullptr, "the real ONNX Runtime is older than the header");
    return *api;
}

OrtStatus* providers(char*** names, int* count) noexcept {
    static char cuda[] = "CUDAExecutionProvider", cpu[] = "CPUExecutionProvider";
    static char* known[] = {cuda, cpu};
    const bool none = fake_driver().refused.contains("GetAvailableProviders");
    *names = none ? known + 1 : known, *count = none ? 1 : 2;
    return nullptr;
}

OrtStatus* release_providers(char**, int) noexcept { return nullptr; }

OrtStatus* create_options(OrtCUDAProviderOptionsV2** options) noexcept {
    *options = static_cast<OrtCUDAProviderOptionsV2*>(std::malloc(1));
    return nullptr;
}

OrtStatus* set_option(OrtCUDAProviderOptionsV2* options, const char* key, void* value) noexcept {
    fake_demand(std::string_view(key) == "user_compute_stream", "an option that is unknown here");
    const std::lock_guard lock(mutex);
    streams[options] = static_cast<CudaStream>(value);
    return nullptr;
}

void release_options(OrtCUDAProviderOptionsV2* options) noexcept {
    const std::lock_guard lock(mutex);
    streams.erase(options);
    std::free(options);
}

OrtStatus* append(OrtSessionOptions* options, const OrtCUDAProviderOptionsV2* cuda) noexcept {
    if (fake_driver().refused.contains("CUDAExecutionProvider"))
        return real().CreateStatus(ORT_FAIL, "Failed to load\nlibcudnn.so.9");
    const std::lock_guard lock(mutex);
    streams[options] = streams.at(cuda);
    return nullptr;
}

OrtStatus* create_session(const OrtEnv* environment, const ORTCHAR_T* path, const OrtSessionOptions* options,
                          OrtSession** session) noexcept {
    OrtStatus* const status = real().CreateSession(environment, path, options, session);
    const std::lock_guard lock(mutex);
    if (!status && streams.contains(options)) streams[*session] = streams[options];
    streams.erase(options);
    return status;
}

OrtStatus* memory_info(const char* name, OrtAllocatorType type, int id, OrtMemType kind, OrtMemoryInfo** info) noexcept {
    fake_demand(std::string_view(name) == "Cuda" && id == 0, "memory of another device");
    OrtStatus* const status = real().CreateMemoryInfo("Cpu", type, id, kind, info);
    const std::lock_guard lock(mutex);
    on_device.insert(*info);
    return status;
}

void release_info(OrtMemoryInfo* info) noexcept {
    {
        const std::lock_guard lock(mutex);
        on_device.erase(info);
    }
    real().ReleaseMemoryInfo(info);
}

OrtStatus* tensor(const OrtMemoryInfo* info, void* data, std::size_t size, const std::int64_t* shape, std::size_t rank,
                  ONNXTensorElementDataType type, OrtValue** value) noexcept {
    {
        const std::lock_guard lock(mutex);
        if (on_device.contains(info)) fake_driver().at(reinterpret_cast<CudaAddress>(data), size);
    }
    return real().CreateTensorWithDataAsOrtValue(info, data, size, shape, rank, type, value);
}

OrtStatus* configure(OrtRunOptions* options, const char* key, const char* value) noexcept {
    const std::lock_guard lock(mutex);
    if (std::string_view(key) == "disable_synchronize_execution_providers" && std::string_view(value) == "1") silent.insert(options);
    return real().AddRunConfigEntry(options, key, value);
}

OrtStatus* run(OrtSession* session, const OrtRunOptions* options, const OrtIoBinding* binding) noexcept {
    FakeDriver& driver = fake_driver();
    if (driver.refused.contains("RunWithBinding")) return real().CreateStatus(ORT_FAIL, "CUBLAS\nfailure");
    const std::lock_guard lock(mutex);
    fake_demand(silent.contains(options), "a run waits for the device");
    fake_demand(!driver.capture, "a run is captured");
    driver.enqueue(streams.at(session), "network", [=] {
        OrtStatus* const status = real().RunWithBinding(session, nullptr, binding);
        fake_demand(status == nullptr, status ? real().GetErrorMessage(status) : "");
    });
    return nullptr;
}

const OrtApi* api(std::uint32_t) noexcept {
    static const OrtApi changed = [] {
        OrtApi table = real();
        table.GetAvailableProviders = providers;
        table.ReleaseAvailableProviders = release_providers;
        table.CreateCUDAProviderOptions = create_options;
        table.UpdateCUDAProviderOptionsWithValue = set_option;
        table.ReleaseCUDAProviderOptions = release_options;
        table.SessionOptionsAppendExecutionProvider_CUDA_V2 = append;
        table.CreateSession = create_session;
        table.CreateMemoryInfo = memory_info;
        table.ReleaseMemoryInfo = release_info;
        table.CreateTensorWithDataAsOrtValue = tensor;
        table.AddRunConfigEntry = configure;
        table.RunWithBinding = run;
        return table;
    }();
    return &changed;
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" const OrtApiBase* OrtGetApiBase() noexcept {
    static const OrtApiBase base{api, real_base().GetVersionString};
    return &base;
}
#pragma GCC visibility pop
