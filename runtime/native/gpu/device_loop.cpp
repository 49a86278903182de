#include "gpu/device_loop.h"

#include <algorithm>

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
    const WorkingImage one{image, mask};
    return restore_many({&one, 1}, wanted, arena).front();
}

std::vector<Working> DeviceLoop::restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena) {
    const bool blind = images[0].mask.absent();
    if (blind && !bundle_.has_prior() && !bundle_.manifest.model.everywhere())
        throw RestoreError("this bundle has no prior network to find the shadow with: give a mask");
    const Plan plan{wanted.table, blind, wanted.with_mask};
    const auto [height, width] = images[0].image.size();
    const auto planes = [&, height = height, width = width](std::size_t channels) {  // named for clang 14
        return Planes{arena.take<float>(channels * height * width), channels, height, width};
    };
    std::vector<Working> found(images.size());
    for (Working& one : found) {
        one.image = planes(3), one.clean = planes(3), one.illumination = planes(3);
        if (wanted.with_mask) one.mask = planes(1);
    }
    const std::size_t largest = networks_->batch(), whole = images.size() / largest * largest;
    const std::lock_guard lock(networks_->turn());
    const Cuda::Scope scope(cuda_);
    const Order order{images, wanted, plan, found};
    stream(order, 0, whole);  // batches of one shape, then what is left
    stream(order, whole, images.size());
    return found;
}

// Restore a range of the images in batches of one size, one after the other.
void DeviceLoop::stream(const Order& order, std::size_t first, std::size_t end) {
    if (first == end) return;
    const std::size_t size = std::min(networks_->batch(), end - first);
    const auto multiple = static_cast<std::size_t>(bundle_.manifest.model.multiple);
    const auto [height, width] = order.images[0].image.size();
    try {
        const Size padded{rounded_up(height, multiple), rounded_up(width, multiple)};
        Workspace& space = ready(size, padded, order.plan, (end - first) / size);
        const Program program(kernels_, names_, bundle_.manifest, constants(order.plan.table, size), space, order.plan);
        std::optional<Sent> before;
        for (std::size_t at = first, number = 0; at < end; at += size, ++number) {
            const Slot& slot = space.slot(number % 2);
            slot.send(order.images.subspan(at, size), order.wanted.seed);
            const Sent sent{&slot, at, launch(space, program, order.plan, slot)};
            slot.receive(order.plan.with_mask);
            if (before) take(order, space, *before);  // the GPU has work, so there is time for what came down before
            before = sent;
        }
        take(order, space, *before);
    } catch (...) {
        cuda_.settle();  // the next call writes to the same memory
        throw;
    }
}

// Queue everything from the uploaded photos to the results; returns whether in single launches.
bool DeviceLoop::launch(Workspace& space, const Program& program, const Plan& plan, const Slot& slot) {
    const RecordedGraph* recorded = graph(space, program, plan);
    slot.started.record();
    if (recorded) {
        recorded->launch();
        return false;
    }
    program.prior();
    slot.between.record();
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

// Wait for the results of a batch and cut them to the size of the images.
void DeviceLoop::take(const Order& order, const Workspace& space, const Sent& sent) const {
    const Slot& slot = *sent.slot;
    slot.ended.synchronize();
    const double share = 1 / static_cast<double>(space.images), seconds = slot.ended.seconds_since(slot.started);
    const double prior = sent.single ? slot.between.seconds_since(slot.started) : 0;
    for (std::size_t image = 0; image < space.images; ++image) {
        const std::size_t number = sent.first + image;
        Working& found = order.found[number];
        const auto cut = [&](std::size_t offset, Planes into) {
            crop(slot.result(offset, into.channels, image), into);
            if (all_finite(into.values)) return;
            const std::size_t count = order.images.size();
            const std::string which = count > 1 ? text("image ", number + 1, " of ", count) : "this photo";
            throw RestoreError(text(networks_->title(), " cannot handle ", which, ": the result has values that are not finite"));
        };
        cut(space.outgoing.x, found.image);
        cut(space.outgoing.clean, found.clean);
        cut(space.outgoing.h, found.illumination);
        if (order.plan.with_mask) cut(space.outgoing.refined, found.mask);
        for (float& value : found.image.values) value = std::clamp((value + 1) / 2, 0.0f, 1.0f);
        found.prior_seconds = prior * share;
        found.diffusion_seconds = (seconds - prior) * share;
    }
    const auto steps = static_cast<int>(order.plan.table.size());
    const auto done = static_cast<int>(sent.first + space.images), all = static_cast<int>(order.images.size());
    const Progress* progress = order.wanted.progress;
    if (progress && *progress && !(*progress)(done * steps, all * steps))
        throw Cancelled("cancelled by the progress callback");
}

// Memory and networks for so many images of a padded size; other shapes give up theirs if they must.
Workspace& DeviceLoop::ready(std::size_t images, Size size, const Plan& plan, std::size_t batches) {
    try {
        return made(images, size, plan, batches);
    } catch (const OutOfMemoryError&) {
        spaces_.clear();
    }
    return made(images, size, plan, batches);
}

Workspace& DeviceLoop::made(std::size_t images, Size size, const Plan& plan, std::size_t batches) {
    const auto fits = [&](const auto& space) { return space->images == images && space->size == size; };
    const auto known = std::ranges::find_if(spaces_, fits);
    std::unique_ptr<Workspace> space;
    if (known != spaces_.end()) {
        space = std::move(*known);
        spaces_.erase(known);
    } else {
        space = std::make_unique<Workspace>(*networks_, images, size, bundle_.has_prior());
    }
    if (plan.refines(bundle_.manifest.sampling)) space->head();
    for (std::size_t number = 0; number < std::min<std::size_t>(2, batches); ++number) space->slot(number);
    constants(plan.table, images);
    // only when nothing can be missing: what is too large for the memory must not stay in it
    spaces_.push_back(std::move(space));
    if (spaces_.size() > KEPT_SHAPES) spaces_.pop_front();
    return *spaces_.back();
}

const DeviceConstants& DeviceLoop::constants(std::span<const Step> table, std::size_t images) {
    std::unique_ptr<DeviceConstants>& known = constants_[{table.data(), images}];
    if (!known) known = std::make_unique<DeviceConstants>(*networks_, bundle_.manifest, table, images);
    return *known;
}

}  // namespace shadowdiffusion
