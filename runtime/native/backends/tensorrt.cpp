// Not run on a GPU yet, nor with an engine: it has been compiled against the headers of TensorRT 11.1. What is around it,
// from the choice of an engine to CUDA graphs, is tested with networks of a few lines in its place.
#include "backends/tensorrt.h"

#include <algorithm>
#include <system_error>

#include "backends/tensorrt_library.h"
#include "errors.h"
#include "files.h"
#include "gpu/layout.h"
#include "gpu/tensor_types.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::string_view STRIPPED = "strip-weights";

nvinfer1::Dims dims_of(const Shape& shape) {
    nvinfer1::Dims dims{};
    dims.nbDims = static_cast<std::int32_t>(shape.size());
    std::ranges::copy(shape, dims.d);
    return dims;
}

Shape shape_of(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(0, dims.nbDims)}; }

std::string sizes_of(const Shape& shape) {
    std::string line;
    for (const std::int64_t length : shape) line += text(line.empty() ? "" : "x", length);
    return line;
}

// One loaded engine.
struct EngineNetwork {
    std::string title;
    const Tensors* tensors;
    std::unique_ptr<nvinfer1::ICudaEngine> engine;

    // An execution context, to which whoever asks gives memory: for the image at hand, not the largest of the profile.
    std::unique_ptr<nvinfer1::IExecutionContext> new_context(const TensorRTLogger& logger) const {
        constexpr auto OURS = nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED;
#ifdef TRT_MAJOR_RTX
        // it would change over to better kernels while it runs, which round differently
        const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine->createRuntimeConfig());
        config->setDynamicShapesKernelSpecializationStrategy(nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
        config->setExecutionContextAllocationStrategy(OURS);
        std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext(config.get()));
#else
        std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext(OURS));
#endif
        if (!context) throw OutOfMemoryError(text(title, " cannot start (", logger.last(), "): ", GPU_ADVICE));
        return context;
    }
};

// A context that is left alone after it was made, as CUDA graphs need it.
class TensorRTExecution final : public Execution {
  public:
    TensorRTExecution(const EngineNetwork& network, const Cuda& cuda, const TensorRTLogger& logger, const Bound& inputs,
                      const Bound& outputs)
        : title_(network.title), cuda_(cuda), logger_(logger), context_(network.new_context(logger)) {
        for (const auto& [name, info] : *network.tensors)
            if (info.input != inputs.contains(name)) throw BundleError(text(title_, " takes other inputs than the bundle's: build it again"));
        for (const auto& [name, tensor] : inputs)
            if (!context_->setInputShape(name.c_str(), dims_of(tensor.shape)))
                refuse(text(name, " of shape ", sizes_of(tensor.shape)));
        const std::size_t inner = std::max<std::size_t>(1, context_->updateDeviceMemorySizeForShapes());
        const DeviceBuffer& memory = buffers_.emplace_back(cuda, inner);
        context_->setDeviceMemoryV2(reinterpret_cast<void*>(memory.address()), static_cast<std::int64_t>(memory.size()));
        for (const auto& [name, info] : *network.tensors) {
            DeviceTensor& tensor = tensors_[name];
            tensor.shape = shape_of(context_->getTensorShape(name.c_str()));
            const Bound& given = info.input ? inputs : outputs;
            const auto found = given.find(name);
            tensor.address = found != given.end() ? found->second.address : allocate(name, info.type, tensor.shape);
            if (!context_->setTensorAddress(name.c_str(), reinterpret_cast<void*>(tensor.address))) refuse(text("memory for ", name));
        }
    }

    const Bound& tensors() const override { return tensors_; }

    void enqueue() override {
        if (!context_->enqueueV3(reinterpret_cast<cudaStream_t>(cuda_.stream())))
            throw RestoreError(text(title_, " did not start: ", logger_.last(), "; ", GPU_ADVICE));
    }

    std::optional<std::string> uncapturable() const override {
#ifdef TRT_MAJOR_RTX
        if (!context_->isStreamCapturable(reinterpret_cast<cudaStream_t>(cuda_.stream())))
            return text("TensorRT says that ", title_, " cannot be captured");
#endif
        return {};
    }

  private:
    CudaAddress allocate(const std::string& name, const std::string& type, const Shape& shape) {
        const std::size_t each = value_size(type);
        if (each == 0) throw BundleError(text(title_, " gives ", name, " in ", type, ", unknown here: build it again"));
        return buffers_.emplace_back(cuda_, std::max<std::size_t>(1, values_of(shape) * each)).address();
    }

    [[noreturn]] void refuse(const std::string& what) const {
        throw RestoreError(text(title_, " refuses ", what, ": ", logger_.last()));
    }

    const std::string title_;
    const Cuda& cuda_;
    const TensorRTLogger& logger_;
    std::vector<DeviceBuffer> buffers_;
    Bound tensors_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;  // goes before its memory
};

class TensorRTNetworks final : public DeviceNetworks {
  public:
    TensorRTNetworks(const Bundle& bundle, StoredEngine engine)
        : DeviceNetworks(bundle), bundle_(bundle), engine_(std::move(engine)), title_(text("engine ", engine_.name())) {
        const Cuda::Scope scope(cuda());
        runtime_ = tensorrt_runtime(logger_);
        if (!runtime_) throw RestoreError(text("TensorRT does not start: ", logger_.last()));
        // such engines carry code; what they are is checked by SHA-256
        if (engine_.key.has("version-compatible")) runtime_->setEngineHostCodeAllowed(true);
    }
    ~TensorRTNetworks() override { forget(); }

    const std::string& title() const override { return title_; }

    std::optional<std::pair<Size, Size>> sizes() const override {
        const Profile profile = engine_.key.sizes();
        return {{profile.least, profile.most}};
    }

    std::size_t batch() const override { return engine_.key.images().second; }

    const Tensors& tensors(std::string_view name) const override { return record(name).tensors; }

    void check_size(std::string_view name, std::size_t images, Size size) override {
        for (const auto& [tensor, info] : tensors(name)) {
            if (!info.input || info.least.size() != 4 || info.most.size() != 4) continue;
            const auto count = static_cast<std::int64_t>(images);
            const auto height = static_cast<std::int64_t>(size.first), width = static_cast<std::int64_t>(size.second);
            if (count < info.least[0] || count > info.most[0])
                throw RestoreError(text(name, " of ", title_, " takes ", info.least[0], " to ", info.most[0],
                                        " images at once, not ", count));
            if (info.least[2] <= height && height <= info.most[2] && info.least[3] <= width && width <= info.most[3]) continue;
            throw RestoreError(text(name, " of ", title_, " takes images of ", info.least[2], "x", info.least[3], " to ",
                                    info.most[2], "x", info.most[3], " pixels (HxW), not ", height, "x", width,
                                    ": use another working size, or build an engine with --profile ", height, "x", width));
        }
    }

    std::unique_ptr<Execution> execution(std::string_view name, const Bound& inputs, const Bound& outputs) override {
        return std::make_unique<TensorRTExecution>(network(name), cuda(), logger_, inputs, outputs);
    }

  private:
    const NetworkRecord& record(std::string_view name) const {
        const auto found = engine_.networks.find(name);
        if (found == engine_.networks.end()) throw BundleError(text(title_, " has no ", name, ": build it again"));
        return found->second;
    }

    // Opened when first asked for, by whoever has the turn.
    const EngineNetwork& network(std::string_view name) {
        const auto known = networks_.find(name);
        if (known != networks_.end()) return known->second;
        const NetworkRecord& of = record(name);
        std::vector<std::byte> raw;
        try {
            raw = read_file(engine_.path / of.file);
        } catch (const std::system_error& error) {
            throw BundleError(text("cannot read ", of.file, " of ", title_, ": ", error.code().message()));
        }
        std::unique_ptr<nvinfer1::ICudaEngine> opened(runtime_->deserializeCudaEngine(raw.data(), raw.size()));
        if (!opened) throw RestoreError(text(of.file, " of ", title_, " cannot be loaded: ", logger_.last()));
        if (engine_.key.has(STRIPPED)) refit(std::string(name), *opened);
        return networks_.emplace(name, EngineNetwork{text(name, " of ", title_), &of.tensors, std::move(opened)}).first->second;
    }

    // Give a stripped engine its weights: from a graph in its folder, else from the portable one.
    void refit(const std::string& name, nvinfer1::ICudaEngine& opened) {
        const auto refitter = tensorrt_refitter(opened, logger_);
        const auto parser = refitter ? tensorrt_parser(*refitter, logger_) : nullptr;
        std::error_code ignored;
        const bool own = std::filesystem::is_regular_file(engine_.path / name, ignored);
        const std::string file = ((own ? engine_.path : bundle_.path) / name).string();
        if (parser && parser->refitFromFile(file.c_str()) && refitter->refitCudaEngine()) return;
        const bool said = parser && parser->getNbErrors() > 0;
        throw RestoreError(text(name, " of ", title_, " cannot take its weights: ",
                                said ? std::string(parser->getError(0)->desc()) : logger_.last()));
    }

    const Bundle& bundle_;
    const StoredEngine engine_;
    const std::string title_;
    TensorRTLogger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::map<std::string, EngineNetwork, std::less<>> networks_;
};

}  // namespace

EngineBackend tensorrt_backend() {
    const bool rtx = TENSORRT_NAME != "tensorrt";
    return {std::string(TENSORRT_NAME), rtx ? "TensorRT for RTX" : "TensorRT", tensorrt_version(),
            [](const Bundle& bundle, const StoredEngine& engine) { return std::make_shared<TensorRTNetworks>(bundle, engine); }};
}

}  // namespace shadowdiffusion
