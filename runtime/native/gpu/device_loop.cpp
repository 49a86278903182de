#include "gpu/device_loop.h"

#include <algorithm>
#include <array>

#include "backends/failures.h"
#include "errors.h"
#include "loop/padding.h"
#include "text.h"

namespace shadowdiffusion {

DeviceLoop::DeviceLoop(const Bundle& bundle, std::shared_ptr<DeviceNetworks> networks,
                       std::function<void(const std::string&)> say)
    : bundle_(bundle), networks_(std::move(networks)), say_(std::move(say)), cuda_(networks_->cuda()),
      kernels_(bundle, cuda_), names_(bundle, *networks_) {
    kernels_.require(names_.all());
}

DeviceLoop::~DeviceLoop() = default;

Working DeviceLoop::restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) {
    const ModelInfo& model = bundle_.manifest.model;
    if (mask.absent() && !bundle_.has_prior() && !model.everywhere())
        throw RestoreError("this bundle has no prior network to find the shadow with: give a mask");
    const Plan plan{wanted.table, mask.absent(), wanted.with_mask};
    const auto multiple = static_cast<std::size_t>(model.multiple);
    const auto [height, width] = image.size();
    const auto planes = [&, height = height, width = width](std::size_t channels) {  // named for clang 14
        return Planes{arena.take<float>(channels * height * width), channels, height, width};
    };
    Working found;
    found.image = planes(3), found.clean = planes(3), found.illumination = planes(3);
    if (wanted.with_mask) found.mask = planes(1);
    {
        const std::lock_guard lock(networks_->turn());
        const Cuda::Scope scope(cuda_);
        try {
            Workspace& space = ready({rounded_up(height, multiple), rounded_up(width, multiple)}, plan);
            const Program program(kernels_, names_, bundle_.manifest, constants(plan.table), space, plan);
            send(space, image, mask, wanted.seed);
            const bool single = launch(space, program, plan);
            receive(space, plan, found);
            if (single) found.prior_seconds = space.between.seconds_since(space.started);
            found.diffusion_seconds = space.ended.seconds_since(space.started) - found.prior_seconds;
        } catch (...) {
            cuda_.settle();  // the next call writes to the same memory
            throw;
        }
    }
    const auto steps = static_cast<int>(plan.table.size());
    if (wanted.progress && *wanted.progress && !(*wanted.progress)(steps, steps))
        throw Cancelled("cancelled by the progress callback");
    return found;
}

// Queue the upload, from pinned memory.
void DeviceLoop::send(const Workspace& space, ConstPlanes image, ConstPlanes mask, std::uint64_t seed) const {
    const auto [height, width] = space.size;
    pad(image, {space.up.values<float>(space.incoming.y, 3 * space.area), 3, height, width});
    // image, top and left are 0
    const std::array<std::int64_t, 4> stream = {static_cast<std::int64_t>(seed), 0, 0, 0};
    std::ranges::copy(stream, space.up.values<std::int64_t>(space.incoming.stream, 4).begin());
    if (!mask.absent()) pad(mask, {space.up.values<float>(space.incoming.mask, space.area), 1, height, width});
    const std::size_t size = mask.absent() ? space.incoming.mask : space.incoming.size;
    cuda_.upload(space.at.y, space.up.bytes().first(size));
}

// Queue everything from the uploaded photo to the results; returns whether in single launches.
bool DeviceLoop::launch(Workspace& space, const Program& program, const Plan& plan) {
    const RecordedGraph* recorded = graph(space, program, plan);
    space.started.record();
    if (recorded) {
        recorded->launch();
        return false;
    }
    program.prior();
    space.between.record();
    program.diffusion();
    space.launched.insert(plan);
    return true;
}

// The captured launches, or null for a plan that has not run before, which TensorRT needs, or cannot be captured.
const RecordedGraph* DeviceLoop::graph(Workspace& space, const Program& program, const Plan& plan) {
    const auto known = space.graphs.find(plan);
    if (known != space.graphs.end()) return known->second.get();
    if (!space.launched.contains(plan) || without_graphs_) return nullptr;
    try {
        if (const auto why = space.uncapturable()) throw RestoreError(*why);
        return (space.graphs[plan] = std::make_unique<RecordedGraph>(cuda_, [&] { program.run(); })).get();
    } catch (const RestoreError& error) {
        space.graphs.erase(plan);
        without_graphs_ = error.what();
        say_(text(title(), " runs in single launches, without CUDA graphs: ", error.what()));
        return nullptr;
    }
}

// Wait for the results and cut them to the size of the image.
void DeviceLoop::receive(const Workspace& space, const Plan& plan, const Working& found) const {
    const Outgoing& at = space.outgoing;
    cuda_.download(space.down.bytes().first(plan.with_mask ? at.size : at.refined), space.at.x);
    space.ended.record();
    cuda_.synchronize();
    const auto take = [&](std::size_t offset, Planes into) {
        const std::span<const float> came = space.down.values<float>(offset, into.channels * space.area);
        const ConstPlanes whole{came, into.channels, space.size.first, space.size.second};
        crop(whole, into);
        if (!all_finite(into.values))
            throw RestoreError(text(networks_->title(), " cannot handle this photo: the result has values that are not finite"));
    };
    take(at.x, found.image);
    take(at.clean, found.clean);
    take(at.h, found.illumination);
    if (plan.with_mask) take(at.refined, found.mask);
    for (float& value : found.image.values) value = std::clamp((value + 1) / 2, 0.0f, 1.0f);
}

// Memory and networks for images of a padded size; other sizes give up theirs if they must.
Workspace& DeviceLoop::ready(Size size, const Plan& plan) {
    try {
        return made(size, plan);
    } catch (const OutOfMemoryError&) {
        spaces_.clear();
    }
    return made(size, plan);
}

Workspace& DeviceLoop::made(Size size, const Plan& plan) {
    const auto known = std::ranges::find_if(spaces_, [&](const auto& space) { return space->size == size; });
    std::unique_ptr<Workspace> space;
    if (known != spaces_.end()) {
        space = std::move(*known);
        spaces_.erase(known);
    } else {
        space = std::make_unique<Workspace>(*networks_, size, bundle_.has_prior());
    }
    if (plan.refines(bundle_.manifest.sampling)) space->head();
    constants(plan.table);
    // only when nothing can be missing: what is too large for the memory must not stay in it
    spaces_.push_back(std::move(space));
    if (spaces_.size() > KEPT_SIZES) spaces_.pop_front();
    return *spaces_.back();
}

const DeviceConstants& DeviceLoop::constants(std::span<const Step> table) {
    std::unique_ptr<DeviceConstants>& known = constants_[table.data()];
    if (!known) known = std::make_unique<DeviceConstants>(*networks_, bundle_.manifest, table);
    return *known;
}

}  // namespace shadowdiffusion
