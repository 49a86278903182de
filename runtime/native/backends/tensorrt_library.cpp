#include "backends/tensorrt_library.h"

#include <filesystem>
#include <new>

#include "backends/failures.h"
#include "errors.h"
#include "shared_library.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

#ifdef TRT_MAJOR_RTX
constexpr std::string_view INFERENCE = "libtensorrt_rtx.so", PARSER = "libtensorrt_onnxparser_rtx.so";
#else
constexpr std::string_view INFERENCE = "libnvinfer.so", PARSER = "libnvonnxparser.so";
#endif

// What is binary-compatible with the headers.
std::string versioned(std::string_view name) { return text(name, ".", NV_TENSORRT_MAJOR); }

const SharedLibrary& inference() {
    static const SharedLibrary opened(
        "TensorRT", library_candidates("SHADOWDIFFUSION_TENSORRT", SHADOWDIFFUSION_TENSORRT_LIBRARY, {versioned(INFERENCE)}),
        text("install it, or set SHADOWDIFFUSION_TENSORRT to the folder of ", versioned(INFERENCE)));
    return opened;
}

const SharedLibrary& parser() {
    const std::filesystem::path beside = std::filesystem::path(inference().path()).parent_path() / versioned(PARSER);
    static const SharedLibrary opened("TensorRT's parser", {beside.string(), versioned(PARSER)},
                                      text("install ", versioned(PARSER), " beside ", inference().path()));
    return opened;
}

}  // namespace

void TensorRTLogger::log(Severity severity, const char* message) noexcept {
    if (severity != Severity::kERROR && severity != Severity::kINTERNAL_ERROR) return;
    try {
        const std::lock_guard lock(mutex_);
        last_ = one_line(message);
    } catch (const std::bad_alloc&) {  // then without a reason
    }
}

std::string TensorRTLogger::last() const {
    const std::lock_guard lock(mutex_);
    return last_.empty() ? "it gave no reason" : last_;
}

std::string tensorrt_version() {
    const auto part = [](const char* name) { return inference().function<decltype(&getInferLibMajorVersion)>(name)(); };
    return text(part("getInferLibMajorVersion"), ".", part("getInferLibMinorVersion"), ".", part("getInferLibPatchVersion"), ".",
                part("getInferLibBuildVersion"));
}

std::unique_ptr<nvinfer1::IRuntime> tensorrt_runtime(TensorRTLogger& logger) {
    const auto create = inference().function<decltype(&createInferRuntime_INTERNAL)>("createInferRuntime_INTERNAL");
    return std::unique_ptr<nvinfer1::IRuntime>(
        static_cast<nvinfer1::IRuntime*>(create(static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION)));
}

std::unique_ptr<nvinfer1::IRefitter> tensorrt_refitter(nvinfer1::ICudaEngine& engine, TensorRTLogger& logger) {
    const auto create = inference().function<decltype(&createInferRefitter_INTERNAL)>("createInferRefitter_INTERNAL");
    return std::unique_ptr<nvinfer1::IRefitter>(static_cast<nvinfer1::IRefitter*>(
        create(&engine, static_cast<nvinfer1::ILogger*>(&logger), NV_TENSORRT_VERSION)));
}

std::unique_ptr<nvonnxparser::IParserRefitter> tensorrt_parser(nvinfer1::IRefitter& refitter, TensorRTLogger& logger) {
    const auto create =
        parser().function<decltype(&createNvOnnxParserRefitter_INTERNAL)>("createNvOnnxParserRefitter_INTERNAL");
    return std::unique_ptr<nvonnxparser::IParserRefitter>(static_cast<nvonnxparser::IParserRefitter*>(
        create(&refitter, static_cast<nvinfer1::ILogger*>(&logger), NV_ONNX_PARSER_VERSION)));
}

}  // namespace shadowdiffusion
