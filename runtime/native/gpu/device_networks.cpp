#include "gpu/device_networks.h"

#include <algorithm>
#include <array>

#include "backends/failures.h"
#include "errors.h"
#include "gpu/tensor_types.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

Shape shape_of(ConstPlanes planes) {
    return {1, static_cast<std::int64_t>(planes.channels), static_cast<std::int64_t>(planes.height),
            static_cast<std::int64_t>(planes.width)};
}

// Waits for the stream where something is thrown: memory that is going up or down must live until then.
class Settled {
  public:
    explicit Settled(const Cuda& cuda) : cuda_(cuda) {}
    ~Settled() {
        if (!done_) cuda_.settle();
    }
    Settled(const Settled&) = delete;
    Settled& operator=(const Settled&) = delete;
    void done() {
        cuda_.synchronize();
        done_ = true;
    }

  private:
    const Cuda& cuda_;
    bool done_ = false;
};

void check_finite(std::string_view name, ConstPlanes found) {
    if (!all_finite(found.values))
        throw RestoreError(text(name, " returned values that are not finite: it cannot handle this photo"));
}

}  // namespace

std::size_t values_of(const Shape& shape) {
    std::size_t product = 1;
    for (const std::int64_t length : shape) product *= static_cast<std::size_t>(std::max<std::int64_t>(0, length));
    return product;
}

// An input from host memory.
struct DeviceNetworks::Given {
    Given(std::string of, Shape in, std::vector<std::span<const float>> values)
        : name(std::move(of)), shape(std::move(in)), parts(std::move(values)) {}
    Given(std::string of, ConstPlanes planes) : Given(std::move(of), shape_of(planes), {planes.values}) {}

    std::string name;
    Shape shape;
    std::vector<std::span<const float>> parts;  // one after the other
};

// A network with memory for its inputs.
struct DeviceNetworks::Ready {
    Bound inputs;
    std::vector<DeviceBuffer> buffers;
    std::map<std::string, std::vector<std::byte>> host;  // inputs as they go up
    std::unique_ptr<Execution> execution;
};

DeviceNetworks::DeviceNetworks(const Bundle& bundle) : rows_(read_rows(bundle)), has_head_(bundle.has(MASK_HEAD)) {}

DeviceNetworks::~DeviceNetworks() = default;

void DeviceNetworks::forget() { ready_.clear(); }

Shape DeviceNetworks::time_shape(std::size_t images) const {
    if (rows_) return {1, static_cast<std::int64_t>(rows_->width)};
    return {static_cast<std::int64_t>(images)};
}

std::vector<float> DeviceNetworks::time(const Step& step, std::size_t images) const {
    if (!rows_) return std::vector<float>(images, static_cast<float>(step.t));
    const std::span<const float> row = rows_->row(static_cast<std::size_t>(step.row.value_or(0)));
    return {row.begin(), row.end()};
}

void DeviceNetworks::prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) {
    const std::lock_guard lock(turn_);
    const Cuda::Scope scope(cuda_);
    Settled settled(cuda_);
    const std::array inputs = {Given("image", image), Given("mask", mask)};
    const Execution& network = enqueued(PRIOR, inputs);
    fetch(PRIOR, network, "clean", clean);
    fetch(PRIOR, network, "matte", matte);
    settled.done();
    check_finite(PRIOR, clean);
    check_finite(PRIOR, matte);
}

void DeviceNetworks::denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                             Planes shadow) {
    const std::lock_guard lock(turn_);
    const Cuda::Scope scope(cuda_);
    Settled settled(cuda_);
    const std::vector<float> times = time(step, 1);
    const Given told(time_name(), time_shape(1), {times});
    Shape whole = shape_of(y);
    whole[1] = 7;
    const std::array apart = {Given("image", y), Given("mask", mask), Given("x_t", x_t), told};
    const std::array joint = {Given(std::string(PACKED_INPUT), whole, {y.values, mask.values, x_t.values}), told};
    const bool packed = tensors(DENOISER).contains(PACKED_INPUT);
    Execution& network = packed ? enqueued(DENOISER, joint) : enqueued(DENOISER, apart);
    fetch(DENOISER, network, "noise", noise);
    if (!shadow.absent()) {
        const std::string_view name = has_head_ ? MASK_HEAD : DENOISER;
        fetch(name, has_head_ ? enqueued_head(network) : network, "shadow", shadow);
    }
    settled.done();
    check_finite(DENOISER, noise);
    if (!shadow.absent()) check_finite(has_head_ ? MASK_HEAD : DENOISER, shadow);
}

Execution& DeviceNetworks::enqueued(std::string_view name, std::span<const Given> inputs) {
    Ready& network = ready(name, inputs);
    for (const Given& input : inputs) {
        const std::string& type = tensors(name).find(input.name)->second.type;
        std::vector<std::byte>& host = network.host[input.name];
        host.resize(values_of(input.shape) * value_size(type));
        std::span<std::byte> rest = host;
        for (const std::span<const float> part : input.parts) {
            const std::size_t bytes = part.size() * value_size(type);
            encode(part, type, rest.first(bytes));
            rest = rest.subspan(bytes);
        }
        cuda_.upload(network.inputs.find(input.name)->second.address, host);
    }
    network.execution->enqueue();
    return *network.execution;
}

Execution& DeviceNetworks::enqueued_head(Execution& denoiser) {
    const DeviceTensor& features = denoiser.tensors().find("features")->second;
    std::unique_ptr<Ready>& head = ready_[std::string(MASK_HEAD)];
    if (!head || head->inputs.find("features")->second.address != features.address) {
        auto made = std::make_unique<Ready>();
        made->inputs["features"] = features;
        made->execution = execution(MASK_HEAD, made->inputs, {});
        head = std::move(made);
    }
    head->execution->enqueue();
    return *head->execution;
}

DeviceNetworks::Ready& DeviceNetworks::ready(std::string_view name, std::span<const Given> inputs) {
    std::unique_ptr<Ready>& network = ready_[std::string(name)];
    const auto fits = [&](const Given& input) {
        const auto found = network->inputs.find(input.name);
        return found != network->inputs.end() && found->second.shape == input.shape;
    };
    if (network && std::ranges::all_of(inputs, fits)) return *network;
    if (name == DENOISER) ready_.erase(std::string(MASK_HEAD));  // which reads this one's features
    network.reset();  // freed before its successor asks for memory
    const Shape& first = inputs[0].shape;
    check_size(name, 1, {static_cast<std::size_t>(first[2]), static_cast<std::size_t>(first[3])});
    auto made = std::make_unique<Ready>();
    for (const Given& input : inputs) {
        const auto known = tensors(name).find(input.name);
        const std::size_t each = known == tensors(name).end() ? 0 : value_size(known->second.type);
        if (each == 0) throw BundleError(text(name, " of ", title(), " does not take ", input.name, ": build it again"));
        made->buffers.emplace_back(cuda_, values_of(input.shape) * each);
        made->inputs[input.name] = {made->buffers.back().address(), input.shape};
    }
    made->execution = execution(name, made->inputs, {});
    network = std::move(made);
    return *network;
}

void DeviceNetworks::fetch(std::string_view name, const Execution& from, std::string_view output, Planes into) const {
    const auto found = from.tensors().find(output);
    const auto known = tensors(name).find(output);
    if (found == from.tensors().end() || known == tensors(name).end() || known->second.type != "FLOAT" ||
        values_of(found->second.shape) != into.values.size())
        throw BundleError(text(name, " of ", title(), " does not give ", output, " in FLOAT: build it again"));
    cuda_.download(std::as_writable_bytes(into.values), found->second.address);
}

}  // namespace shadowdiffusion
