#include "backends/onnxruntime_device.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <string_view>

#include "backends/failures.h"
#include "backends/onnxruntime_library.h"
#include "backends/onnxruntime_session.h"
#include "backends/openings.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::string_view PROVIDER = "CUDAExecutionProvider";

// The type of a tensor by TensorRT's name.
std::string type_of(const OrtTensorTypeAndShapeInfo* tensor) {
    ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
    demand(onnxruntime().GetTensorElementType(tensor, &type));
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) return "FLOAT";
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16) return "HALF";
    if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16) return "BF16";
    return text("type ", static_cast<int>(type), " of ONNX");
}

// Inputs or outputs of a session, added to `found`.
template <class Count, class Name, class Type>
void add_tensors(Tensors& found, bool input, const OrtSession* session, Count count, Name name, Type type) {
    OrtAllocator* allocator = nullptr;
    demand(onnxruntime().GetAllocatorWithDefaultOptions(&allocator));
    std::size_t size = 0;
    demand(count(session, &size));
    for (std::size_t i = 0; i < size; ++i) {
        const auto info = made<OrtTypeInfo>(type, session, i);
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        demand(onnxruntime().CastTypeInfoToTensorInfo(info.get(), &tensor));
        char* named = nullptr;
        demand(name(session, i, allocator, &named));
        found[named] = {input, tensor ? type_of(tensor) : "no tensor", {}, {}};
        demand(onnxruntime().AllocatorFree(allocator, named));
    }
}

Tensors tensors_of(const OrtSession* session) {
    const OrtApi& api = onnxruntime();
    Tensors found;
    add_tensors(found, true, session, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo);
    add_tensors(found, false, session, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo);
    return found;
}

Shape shape_of(const OrtValue* value) {
    const auto info = made<OrtTensorTypeAndShapeInfo>(onnxruntime().GetTensorTypeAndShape, value);
    std::size_t rank = 0;
    demand(onnxruntime().GetDimensionsCount(info.get(), &rank));
    Shape shape(rank);
    demand(onnxruntime().GetDimensions(info.get(), shape.data(), rank));
    return shape;
}

// Ready after a first run on whatever the inputs hold: it tells the shapes of all outputs, and makes ONNX Runtime take its
// memory and choose its algorithms.
class OnnxRuntimeExecution final : public Execution {
  public:
    OnnxRuntimeExecution(std::string name, std::shared_ptr<Session> session, const Tensors& tensors, const Cuda& cuda,
                         const Bound& inputs, const Bound& outputs)
        : name_(std::move(name)), session_(std::move(session)), tensors_(inputs),
          size_(inputs.begin()->second.shape),
          memory_(made<OrtMemoryInfo>(onnxruntime().CreateMemoryInfo, "Cuda", OrtDeviceAllocator, 0, OrtMemTypeDefault)),
          options_(made<OrtRunOptions>(onnxruntime().CreateRunOptions)),
          binding_(made<OrtIoBinding>(onnxruntime().CreateIoBinding, session_->session.get())) {
        // the stream is not waited for
        demand(onnxruntime().AddRunConfigEntry(options_.get(), "disable_synchronize_execution_providers", "1"));
        for (const auto& [input, info] : tensors)
            if (info.input != inputs.contains(input))
                throw BundleError(text(name_, " takes other inputs than the bundle's: export the bundle again"));
        for (const auto& [input, tensor] : inputs) bind(onnxruntime().BindInput, input, tensor);
        std::vector<std::string> names;
        for (const auto& [output, info] : tensors)
            if (!info.input) names.push_back(output);
        for (const std::string& output : names)
            demand(onnxruntime().BindOutputToDevice(binding_.get(), output.c_str(), memory_.get()));
        enqueue();
        cuda.synchronize();
        const std::vector<Shape> shapes = found_shapes();
        onnxruntime().ClearBoundOutputs(binding_.get());
        for (std::size_t i = 0; i < names.size(); ++i) {
            DeviceTensor& tensor = tensors_[names[i]];
            tensor.shape = shapes.at(i);
            if (const auto given = outputs.find(names[i]); given != outputs.end())
                tensor.address = given->second.address;
            else
                tensor.address = buffers_.emplace_back(cuda, values_of(tensor.shape) * sizeof(float)).address();
            bind(onnxruntime().BindOutput, names[i], tensor);
        }
    }

    const Bound& tensors() const override { return tensors_; }

    void enqueue() override {
        try {
            demand(onnxruntime().RunWithBinding(session_->session.get(), options_.get(), binding_.get()));
        } catch (const std::exception& error) {
            const auto length = [&](std::size_t axis) { return size_.size() == 4 ? static_cast<std::size_t>(size_[axis]) : 0; };
            throw_failure(name_, length(2), length(3), error);
        }
    }

    std::optional<std::string> uncapturable() const override { return "ONNX Runtime takes and moves memory while it runs"; }

  private:
    template <class Bind>
    void bind(Bind function, const std::string& name, const DeviceTensor& tensor) {
        values_.push_back(made<OrtValue>(onnxruntime().CreateTensorWithDataAsOrtValue, memory_.get(),
                                         reinterpret_cast<void*>(tensor.address), values_of(tensor.shape) * sizeof(float),
                                         tensor.shape.data(), tensor.shape.size(), ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
        demand(function(binding_.get(), name.c_str(), values_.back().get()));
    }

    // Of the outputs that ONNX Runtime made, in the order in which they were bound.
    std::vector<Shape> found_shapes() const {
        OrtAllocator* allocator = nullptr;
        demand(onnxruntime().GetAllocatorWithDefaultOptions(&allocator));
        OrtValue** values = nullptr;
        std::size_t count = 0;
        demand(onnxruntime().GetBoundOutputValues(binding_.get(), allocator, &values, &count));
        std::vector<OrtOwned<OrtValue>> owned;
        for (OrtValue* const value : std::span(values, count)) owned.emplace_back(value);
        demand(onnxruntime().AllocatorFree(allocator, values));
        std::vector<Shape> shapes;
        for (const auto& value : owned) shapes.push_back(shape_of(value.get()));
        return shapes;
    }

    const std::string name_;
    const std::shared_ptr<Session> session_;
    Bound tensors_;
    const Shape size_;  // of one of the inputs
    std::vector<DeviceBuffer> buffers_;
    const OrtOwned<OrtMemoryInfo> memory_;
    const OrtOwned<OrtRunOptions> options_;
    std::vector<OrtOwned<OrtValue>> values_;
    const OrtOwned<OrtIoBinding> binding_;  // goes before what is bound
};

class OnnxRuntimeOnDevice final : public DeviceNetworks {
  public:
    OnnxRuntimeOnDevice(const Bundle& bundle, unsigned threads)
        : DeviceNetworks(bundle), bundle_(bundle), threads_(threads),
          sessions_([this](const std::string& name) { return open(name); }) {}
    ~OnnxRuntimeOnDevice() override { forget(); }

    const std::string& title() const override { return title_; }

    void prefetch() override {
        if (bundle_.has_prior()) sessions_[PRIOR];
        sessions_[DENOISER];
    }

    const Tensors& tensors(std::string_view name) const override {
        const std::shared_ptr<Session> session = sessions_[name].get();
        const std::lock_guard lock(mutex_);
        const auto known = tensors_.find(name);
        if (known != tensors_.end()) return known->second;
        return tensors_.emplace(name, tensors_of(session->session.get())).first->second;
    }

    // Any size for which there is memory.
    void check_size(std::string_view, std::size_t, Size) override {}

    std::unique_ptr<Execution> execution(std::string_view name, const Bound& inputs, const Bound& outputs) override {
        try {
            return std::make_unique<OnnxRuntimeExecution>(std::string(name), sessions_[name].get(), tensors(name), cuda(),
                                                          inputs, outputs);
        } catch (const RestoreError&) {
            throw;
        } catch (const std::exception& error) {
            throw RestoreError(text(name, " of ", title_, " cannot be bound: ", one_line(error.what())));
        }
    }

  private:
    std::shared_ptr<Session> open(const std::string& name) const {
        return open_session(bundle_, name, threads_, [this](OrtSessionOptions* options) {
            const auto cuda_options = made<OrtCUDAProviderOptionsV2>(onnxruntime().CreateCUDAProviderOptions);
            demand(onnxruntime().UpdateCUDAProviderOptionsWithValue(cuda_options.get(), "user_compute_stream", cuda().stream()));
            demand(onnxruntime().SessionOptionsAppendExecutionProvider_CUDA_V2(options, cuda_options.get()));
        });
    }

    const Bundle& bundle_;
    const unsigned threads_;
    const std::string title_ = "ONNX Runtime on CUDA";
    mutable Openings<Session> sessions_;
    mutable std::mutex mutex_;
    mutable std::map<std::string, Tensors, std::less<>> tensors_;
};

}  // namespace

bool onnxruntime_has_cuda() {
    char** names = nullptr;
    int count = 0;
    demand(onnxruntime().GetAvailableProviders(&names, &count));
    const std::vector<std::string_view> known(names, names + count);
    const bool found = std::ranges::find(known, PROVIDER) != known.end();
    demand(onnxruntime().ReleaseAvailableProviders(names, count));
    return found;
}

std::shared_ptr<DeviceNetworks> onnxruntime_on_device(const Bundle& bundle, unsigned threads) {
    if (!onnxruntime_has_cuda())
        throw RestoreError(text("ONNX Runtime ", onnxruntime_version(), " was built without CUDA: install onnxruntime-gpu, or "
                                "set SHADOWDIFFUSION_ONNXRUNTIME to the folder of another"));
    auto networks = std::make_shared<OnnxRuntimeOnDevice>(bundle, threads);
    networks->prefetch();
    networks->tensors(DENOISER);  // whether CUDA starts shows when something is opened
    return networks;
}

}  // namespace shadowdiffusion
