#include "loop/sampler.h"

#include <algorithm>
#include <cmath>

#include "loop/noise.h"
#include "loop/prior_update.h"

namespace shadowdiffusion {

namespace {

float root(double value) { return static_cast<float>(std::sqrt(value)); }

StepScales scales_of(const Sampling& sampling, const Step& step, bool last) {
    const double along = std::max(0.0, 1 - step.alpha_bar_next - step.sigma * step.sigma);
    return {.noise_scale = root(1 - step.alpha_bar),
            .signal_scale = root(step.alpha_bar),
            .clamp = sampling.clamp,
            .consistent = sampling.data_consistency,
            .last = last,
            .rho = static_cast<float>(step.rho),
            .next = root(step.alpha_bar_next),
            .direction = root(along),
            .sigma = static_cast<float>(step.sigma)};
}

}  // namespace

void sample(Networks& networks, const Degraded& given, std::uint64_t seed, const Sampling& sampling,
            std::span<const Step> table, Planes x, Planes refined, const std::function<void(int)>& report, Arena& arena,
            Workers& workers) {
    const Arena::Scope scope(arena);
    const auto [height, width] = x.size();
    const auto planes = [&, height = height, width = width](std::size_t channels) {  // named for clang 14
        return Planes{arena.take<float>(channels * height * width), channels, height, width};
    };
    const Planes y = planes(3), epsilon = planes(3);
    to_signed(given.y, y, workers);
    gaussian(x, seed, 0, workers);
    if (sampling.start_alpha_bar)
        start_state(x, given.clean, root(1 - *sampling.start_alpha_bar), root(*sampling.start_alpha_bar), workers);
    const bool draws = std::ranges::any_of(table, [](const Step& step) { return step.sigma > 0; });
    const Planes fresh = draws ? planes(3) : Planes{};
    // what the mask head finds: into the caller's memory, or where only later steps read it, into some of its own
    const bool feeds = std::ranges::any_of(table.subspan(1), [&](const Step& s) { return reads_refined(sampling, s); });
    const Planes found = refined.absent() && feeds ? planes(1) : refined;
    ConstPlanes latest = given.mask;
    for (std::size_t i = 0; i < table.size(); ++i) {
        const Step& step = table[i];
        const bool last = i + 1 == table.size();
        const bool wanted = last ? !refined.absent() : reads_refined(sampling, table[i + 1]);
        const ConstPlanes seen = reads_refined(sampling, step) ? latest : given.mask;
        // a network must not write where it reads
        const Arena::Scope copies(arena);
        const bool overlaps = wanted && seen.values.data() == found.values.data();
        const Planes shadow = !wanted ? Planes{} : overlaps ? planes(1) : found;
        networks.denoise(y, seen, x, step, epsilon, shadow);
        if (overlaps) std::ranges::copy(shadow.values, found.values.begin());
        if (wanted) {
            if (sampling.mask_policy == MaskPolicy::closed_form)
                closed_form_mask(given.h, given.mask, step.rho, found, workers);
            latest = found;
        }
        const bool stirs = !last && step.sigma > 0;
        if (stirs) gaussian(fresh, seed, static_cast<std::uint32_t>(i + 1), workers);
        update_state(x, epsilon, given.y, given.h, stirs ? fresh : Planes{}, scales_of(sampling, step, last), workers);
        report(static_cast<int>(i + 1));
    }
}

bool reads_refined(const Sampling& sampling, const Step& step) {
    const bool late = sampling.mask_policy == MaskPolicy::late &&
                      static_cast<double>(step.t) < LATE * static_cast<double>(sampling.T);
    return late || sampling.mask_policy == MaskPolicy::predicted || sampling.mask_policy == MaskPolicy::closed_form;
}

}  // namespace shadowdiffusion
