#include "gpu/slot.h"

#include <algorithm>
#include <array>

#include "gpu/layout.h"
#include "loop/padding.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t STREAM = 4;  // numbers that make up the noise of an image

}  // namespace

Incoming::Incoming(std::size_t images, std::size_t area) {
    Layout layout;
    y = layout.add(images * 3 * area * sizeof(float));
    stream = layout.add(images * STREAM * sizeof(std::int64_t));
    mask = layout.add(images * area * sizeof(float));
    size = layout.size();
}

Outgoing::Outgoing(std::size_t images, std::size_t area) {
    Layout layout;
    x = layout.add(images * 3 * area * sizeof(float));
    clean = layout.add(images * 3 * area * sizeof(float));
    h = layout.add(images * 3 * area * sizeof(float));
    refined = layout.add(images * area * sizeof(float));
    size = layout.size();
}

Slot::Slot(const Cuda& cuda, const Incoming& incoming, const Outgoing& outgoing, Size padded, CudaAddress first_in,
           CudaAddress first_out)
    : started(cuda), between(cuda), ended(cuda), cuda_(cuda), incoming_(incoming), outgoing_(outgoing), padded_(padded),
      first_in_(first_in), first_out_(first_out), up_(cuda, incoming.size), down_(cuda, outgoing.size),
      landing_(cuda, incoming.size), uploaded_(cuda) {}

void Slot::send(std::span<const WorkingImage> images, std::uint64_t seed) const {
    const bool masked = !images[0].mask.absent();
    // image, top and left are 0: each photo gets the noise that it would get alone
    const std::array<std::int64_t, STREAM> stream = {static_cast<std::int64_t>(seed), 0, 0, 0};
    const auto streams = up_.values<std::int64_t>(incoming_.stream, images.size() * STREAM);
    for (std::size_t i = 0; i < images.size(); ++i) {
        pad(images[i].image, room(incoming_.y, 3, i));
        std::ranges::copy(stream, streams.subspan(i * STREAM).begin());
        if (masked) pad(images[i].mask, room(incoming_.mask, 1, i));
    }
    const std::size_t size = masked ? incoming_.size : incoming_.mask;
    cuda_.upload(landing_.address(), up_.bytes().first(size), cuda_.upload_stream());
    uploaded_.record(cuda_.upload_stream());
    uploaded_.hold(cuda_.stream());
    cuda_.copy(first_in_, landing_.address(), size);
}

void Slot::receive(bool with_mask) const {
    cuda_.download(down_.bytes().first(with_mask ? outgoing_.size : outgoing_.refined), first_out_);
    ended.record();
}

ConstPlanes Slot::result(std::size_t offset, std::size_t channels, std::size_t image) const {
    const std::size_t values = channels * padded_.first * padded_.second;
    const std::span<const float> all = down_.values<float>(offset, (image + 1) * values);
    return {all.last(values), channels, padded_.first, padded_.second};
}

Planes Slot::room(std::size_t offset, std::size_t channels, std::size_t image) const {
    const std::size_t values = channels * padded_.first * padded_.second;
    return {up_.values<float>(offset, (image + 1) * values).last(values), channels, padded_.first, padded_.second};
}

}  // namespace shadowdiffusion
