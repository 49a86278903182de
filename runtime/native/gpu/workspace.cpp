#include "gpu/workspace.h"

#include "gpu/layout.h"
#include "gpu/tensor_types.h"

namespace shadowdiffusion {

Workspace::Workspace(DeviceNetworks& networks, std::size_t count, Size of, bool has_prior)
    : images(count), size(of), area(of.first * of.second), incoming(count, area), outgoing(count, area),
      networks_(networks), incoming_(networks.cuda(), incoming.size), outgoing_(networks.cuda(), outgoing.size) {
    networks.check_size(DENOISER, images, of);
    if (has_prior) networks.check_size(PRIOR, images, of);
    const auto packed = packed_type(networks);
    const std::size_t plane = images * area * sizeof(float);
    Layout inner;
    const std::size_t a = inner.add(3 * plane), b = inner.add(3 * plane);
    const std::size_t condition = inner.add(packed ? 7 * images * area * value_size(*packed) : 3 * plane);
    const std::size_t seen = inner.add(plane), sums = inner.add(images * 4 * DEPTH_PARTS * sizeof(float));
    const Shape told = networks.time_shape(images);
    const std::size_t time = inner.add(values_of(told) * sizeof(float));
    inner_.emplace(networks.cuda(), inner.size());
    const CudaAddress first_in = incoming_.address(), first_out = outgoing_.address(), first = inner_->address();
    at = {first_in + incoming.y, first_in + incoming.stream, first_in + incoming.mask, first_out + outgoing.x,
          first_out + outgoing.clean, first_out + outgoing.h, first_out + outgoing.refined, first + a, first + b,
          first + condition, first + seen, first + sums, first + time};
    const auto shape = [&](std::int64_t channels) {
        return Shape{static_cast<std::int64_t>(images), channels, static_cast<std::int64_t>(of.first),
                     static_cast<std::int64_t>(of.second)};
    };
    if (has_prior)
        prior = networks.execution(PRIOR, {{"image", {at.y, shape(3)}}, {"mask", {at.mask, shape(1)}}},
                                   {{"clean", {at.clean, shape(3)}}});
    Bound inputs;
    if (packed)
        inputs = {{std::string(PACKED_INPUT), {at.condition, shape(7)}}};
    else
        inputs = {{"image", {at.condition, shape(3)}}, {"mask", {at.seen, shape(1)}}, {"x_t", {at.x, shape(3)}}};
    inputs[networks.time_name()] = {at.time, told};
    denoiser = networks.execution(DENOISER, inputs, {});
}

Execution* Workspace::head() {
    const auto features = denoiser->tensors().find("features");
    if (!head_ && features != denoiser->tensors().end())
        head_ = networks_.execution(MASK_HEAD, {{"features", features->second}}, {});
    return head_.get();
}

Slot& Workspace::slot(std::size_t number) {
    while (slots_.size() <= number)
        slots_.push_back(std::make_unique<Slot>(cuda(), incoming, outgoing, size, at.y, at.x));
    return *slots_[number];
}

std::optional<std::string> Workspace::uncapturable() const {
    for (const Execution* network : {prior.get(), denoiser.get(), head_.get()})
        if (const auto why = network ? network->uncapturable() : std::nullopt) return why;
    return {};
}

std::optional<std::string> Workspace::packed_type(const DeviceNetworks& networks) {
    const Tensors& tensors = networks.tensors(DENOISER);
    const auto packed = tensors.find(PACKED_INPUT);
    if (packed == tensors.end()) return {};
    return packed->second.type;
}

}  // namespace shadowdiffusion
