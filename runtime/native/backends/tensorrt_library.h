// TensorRT, opened when the program runs: of its libraries, the build needs the headers alone.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <memory>
#include <mutex>
#include <string>

namespace shadowdiffusion {

// Keeps the last errors that TensorRT reports, for messages.
class TensorRTLogger final : public nvinfer1::ILogger {
  public:
    void log(Severity severity, const char* message) noexcept override;
    std::string last() const;

  private:
    mutable std::mutex mutex_;
    std::string last_;
};

// "10.16.1.11", as the Python package has it. Throws RestoreError where the library is missing.
std::string tensorrt_version();

// Objects of the library, or null. Throw RestoreError where a library is missing.
std::unique_ptr<nvinfer1::IRuntime> tensorrt_runtime(TensorRTLogger& logger);
std::unique_ptr<nvinfer1::IRefitter> tensorrt_refitter(nvinfer1::ICudaEngine& engine, TensorRTLogger& logger);
std::unique_ptr<nvonnxparser::IParserRefitter> tensorrt_parser(nvinfer1::IRefitter& refitter, TensorRTLogger& logger);

}  // namespace shadowdiffusion
