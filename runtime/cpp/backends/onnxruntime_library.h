// ONNX Runtime as a library that is looked for when it is first needed.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <string>

namespace shadowdiffusion {

// The functions of ONNX Runtime, and its environment, which lives as long as the process: opened once (open_onnxruntime). Throws
// RestoreError where there is none, or one older than 1.16.
const OrtApi& onnxruntime();
OrtEnv* onnxruntime_environment();

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
