#include "loop/host_loop.h"

#include <algorithm>

#include "clock.h"
#include "errors.h"
#include "loop/padding.h"
#include "loop/prior_update.h"
#include "loop/sampler.h"

namespace shadowdiffusion {

HostLoop::HostLoop(const Bundle& bundle, Networks& networks, Workers& workers)
    : bundle_(bundle), networks_(networks), workers_(workers) {}

HostLoop::HostLoop(const Bundle& bundle, std::unique_ptr<Networks> networks, Workers& workers)
    : bundle_(bundle), owned_(std::move(networks)), networks_(*owned_), workers_(workers) {}

Working HostLoop::restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) {
    const ModelInfo& model = bundle_.manifest.model;
    const auto planes = [&](std::size_t channels, Size size) {
        const auto [height, width] = size;
        return Planes{arena.take<float>(channels * height * width), channels, height, width};
    };
    const Size whole = image.size();
    const auto multiple = static_cast<std::size_t>(model.multiple);
    const Size padded = {rounded_up(whole.first, multiple), rounded_up(whole.second, multiple)};
    Working found;
    found.image = planes(3, whole), found.clean = planes(3, whole), found.illumination = planes(3, whole);
    if (wanted.with_mask) found.mask = planes(1, whole);
    const Arena::Scope scope(arena);

    const Stopwatch watch;
    const Planes y = planes(3, padded), seen = planes(1, padded), clean = planes(3, padded), h = planes(3, padded);
    pad(image, y);
    if (mask.absent())
        find_mask(y, seen, arena);
    else
        pad(mask, seen);
    if (bundle_.has_prior()) {
        const Arena::Scope matte(arena);
        networks_.prior(y, seen, clean, planes(1, padded));
    } else {
        std::ranges::copy(y.values, clean.values.begin());
    }
    illumination(y, clean, model.illumination, h, workers_);
    found.prior_seconds = watch.seconds();

    const auto steps = static_cast<int>(wanted.table.size());
    const auto report = [&](int done) {
        if (wanted.progress && *wanted.progress && !(*wanted.progress)(done, steps))
            throw Cancelled("cancelled by the progress callback");
    };
    const Planes x = planes(3, padded), refined = wanted.with_mask ? planes(1, padded) : Planes{};
    sample(networks_, {y, seen, h, clean}, wanted.seed, bundle_.manifest.sampling, wanted.table, x, refined, report,
           arena, workers_);
    to_unit(x, workers_);
    found.diffusion_seconds = watch.seconds() - found.prior_seconds;
    crop(x, found.image);
    crop(clean, found.clean);
    crop(h, found.illumination);
    if (wanted.with_mask) crop(refined, found.mask);
    return found;
}

void HostLoop::find_mask(ConstPlanes y, Planes mask, Arena& arena) const {
    const ModelInfo& model = bundle_.manifest.model;
    if (model.everywhere()) {
        std::ranges::fill(mask.values, 1.0f);
        return;
    }
    if (!bundle_.has_prior())
        throw RestoreError("this bundle has no prior network to find the shadow with: give a mask");
    const Arena::Scope scope(arena);
    const auto planes = [&](std::size_t channels) {
        return Planes{arena.take<float>(channels * y.area()), channels, y.height, y.width};
    };
    const Planes unknown = planes(1), clean = planes(3), matte = planes(1);
    std::ranges::fill(unknown.values, static_cast<float>(model.blind_mask));
    networks_.prior(y, unknown, clean, matte);
    confident_mask(matte, model.matte_threshold, mask);
}

}  // namespace shadowdiffusion
