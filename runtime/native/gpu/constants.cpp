#include "gpu/constants.h"

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "gpu/layout.h"
#include "gpu/step_table.h"

namespace shadowdiffusion {

DeviceConstants::Places::Places(std::size_t steps, std::size_t bytes)
    : time_size(bytes), time_stride(device_aligned(bytes)) {
    Layout layout;
    table = layout.add(steps * sizeof(StepRow));
    index = layout.add(steps * INDEX_BYTES);
    times = layout.add(steps * time_stride);
    limits = layout.add(3 * sizeof(float));
    threshold = layout.add(sizeof(float));
    start = layout.add(2 * sizeof(float));
    size = layout.size();
}

DeviceConstants::DeviceConstants(const DeviceNetworks& networks, const Manifest& manifest, std::span<const Step> table,
                                 std::size_t images)
    : places_(table.size(), values_of(networks.time_shape(images)) * sizeof(float)), buffer_(networks.cuda(), places_.size) {
    std::vector<std::byte> host(places_.size);
    const auto put = [&](std::size_t offset, const auto& values) {
        const auto bytes = std::as_bytes(std::span(values));
        std::memcpy(&host[offset], bytes.data(), bytes.size());
    };
    put(places_.table, step_table(manifest.sampling, table));
    for (std::size_t step = 0; step < table.size(); ++step) {
        put(places_.index + step * INDEX_BYTES, std::array{static_cast<std::int32_t>(step)});
        put(places_.times + step * places_.time_stride, networks.time(table[step], images));
    }
    const auto number = [](double value) { return static_cast<float>(value); };
    const Illumination& of = manifest.model.illumination;
    const double alpha_bar = manifest.sampling.start_alpha_bar.value_or(0);
    put(places_.limits, std::array{number(of.epsilon), number(of.floor), number(of.ceiling)});
    put(places_.threshold, std::array{number(manifest.model.matte_threshold)});
    put(places_.start, std::array{number(std::sqrt(1 - alpha_bar)), number(std::sqrt(alpha_bar))});
    networks.cuda().upload(buffer_.address(), host);
    networks.cuda().synchronize();
}

}  // namespace shadowdiffusion
