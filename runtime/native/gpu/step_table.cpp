#include "gpu/step_table.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "loop/sampler.h"

namespace shadowdiffusion {

std::vector<StepRow> step_table(const Sampling& sampling, std::span<const Step> table) {
    std::vector<StepRow> rows;
    const auto number = [](double value) { return static_cast<float>(value); };
    for (std::size_t i = 0; i < table.size(); ++i) {
        const Step& step = table[i];
        const bool refined = i + 1 < table.size() && reads_refined(sampling, table[i + 1]);
        const double along = std::max(0.0, 1 - step.alpha_bar_next - step.sigma * step.sigma);
        rows.push_back({number(std::sqrt(1 - step.alpha_bar)), number(1 / std::sqrt(step.alpha_bar)),
                        number(std::sqrt(step.alpha_bar_next)), number(std::sqrt(along)), number(step.sigma),
                        number(step.rho), sampling.clamp ? 1.0f : std::numeric_limits<float>::infinity(),
                        refined ? 1.0f : 0.0f});
    }
    return rows;
}

}  // namespace shadowdiffusion
