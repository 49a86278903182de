// ONNX Runtime as a library that is looked for when it is first needed.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <string>

namespace shadowdiffusion {

// The functions of ONNX Runtime, and what lives as long as the process: opened once. In this order it is looked for: the
// file, or the folder, that the environment variable SHADOWDIFFUSION_ONNXRUNTIME names, and nowhere else if it is set;
// what ONNXRUNTIME_LIBRARY was when this was built; libonnxruntime.so.1 and libonnxruntime.so, as the loader finds them.
// Throws RestoreError where there is none, or one older than 1.16.
const OrtApi& onnxruntime();
OrtEnv* onnxruntime_environment();

// Version of the library, such as 1.22.0. Throws as `onnxruntime`.
const std::string& onnxruntime_version();

// Throws std::runtime_error with its message unless a call went well.
void demand(OrtStatus* status);

// Objects of ONNX Runtime, released with their owners.
struct OrtRelease {
    void operator()(OrtSession* session) const { onnxruntime().ReleaseSession(session); }
    void operator()(OrtSessionOptions* options) const { onnxruntime().ReleaseSessionOptions(options); }
    void operator()(OrtMemoryInfo* info) const { onnxruntime().ReleaseMemoryInfo(info); }
    void operator()(OrtValue* value) const { onnxruntime().ReleaseValue(value); }
    void operator()(OrtStatus* status) const { onnxruntime().ReleaseStatus(status); }
};
template <class T>
using OrtOwned = std::unique_ptr<T, OrtRelease>;

// What a function that returns an object by its last argument makes.
template <class T, class Function, class... Arguments>
OrtOwned<T> made(Function function, const Arguments&... arguments) {
    T* object = nullptr;
    demand(function(arguments..., &object));
    return OrtOwned<T>(object);
}

}  // namespace shadowdiffusion
