// The sampler against its equations, written plainly in double precision, over all mask policies.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "loop/noise.h"
#include "loop/padding.h"
#include "loop/prior_update.h"
#include "loop/sampler.h"

using namespace shadowdiffusion;

namespace {

constexpr std::size_t HEIGHT = 7, WIDTH = 11, AREA = HEIGHT * WIDTH;

// Predicts from all that it sees, and counts how often its mask head is asked.
class Mixing final : public Networks {
  public:
    const std::string& title() const override { return title_; }
    void prior(ConstPlanes, ConstPlanes, Planes, Planes) override {}
    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x, const Step& step, Planes noise, Planes shadow) override {
        for (std::size_t i = 0; i < 3 * AREA; ++i) noise.values[i] = static_cast<float>(predicted(y.values[i], mask.values[i % AREA], x.values[i], step));
        heads += !shadow.absent();
        if (shadow.absent()) return;
        for (std::size_t i = 0; i < AREA; ++i) shadow.values[i] = static_cast<float>(found(mask.values[i], x.values[i]));
    }
    static double predicted(double y, double mask, double x, const Step& step) {
        return 0.3 * x - 0.2 * y + 0.4 * mask + 1e-4 * static_cast<double>(step.t);
    }
    static double found(double mask, double x) { return std::clamp(0.5 * mask + 0.1 * x + 0.2, 0.0, 1.0); }
    int heads = 0;

  private:
    std::string title_ = "mixing";
};

std::vector<float> values(std::size_t count, int salt, double least, double most) {
    std::vector<float> out(count);
    for (std::size_t i = 0; i < count; ++i)
        out[i] = static_cast<float>(least + (most - least) * std::fmod(static_cast<double>(i * 7919u + static_cast<unsigned>(salt) * 104729u) * 0.6180339887, 1.0));
    return out;
}

using Doubles = std::vector<double>;

Doubles closed(const std::vector<float>& h, const std::vector<float>& mask, const Doubles& v, double rho) {
    double depth[3] = {}, count = 0, below = rho;
    for (std::size_t i = 0; i < AREA; ++i)
        if (mask[i] >= CONFIDENT) {
            ++count;
            for (std::size_t c = 0; c < 3; ++c) depth[c] += 1 - static_cast<double>(h[c * AREA + i]);
        }
    for (double& d : depth) d /= std::max(count, 1.0), below += d * d;
    Doubles out(AREA);
    for (std::size_t i = 0; i < AREA; ++i) {
        double above = rho * v[i];
        for (std::size_t c = 0; c < 3; ++c) above += depth[c] * (1 - static_cast<double>(h[c * AREA + i]));
        out[i] = std::clamp(above / below, 0.0, 1.0);
    }
    return out;
}

}  // namespace

TEST_CASE("every policy, with and without start, clamp, noise and the mask, follows the equations") {
    Workers workers(2);
    const std::vector<Step> table = {{800, 0.1, 0.4, 0.3, 0.02, {}}, {400, 0.4, 0.8, 0.0, 0.02, {}}, {100, 0.8, 0.95, 0.1, 0.05, {}}, {10, 0.95, 1.0, 0.0, 0.05, {}}};
    const std::vector<float> y = values(3 * AREA, 1, 0, 1), mask = values(AREA, 2, 0, 1), h = values(3 * AREA, 3, 0.05, 2), clean = values(3 * AREA, 4, 0, 1);
    std::map<std::uint32_t, std::vector<float>> noise;
    for (std::uint32_t i = 0; i < 5; ++i) {
        noise[i].resize(3 * AREA);
        gaussian({noise[i], 3, HEIGHT, WIDTH}, 9, i, workers);
    }
    for (const MaskPolicy policy : {MaskPolicy::input, MaskPolicy::predicted, MaskPolicy::late, MaskPolicy::closed_form})
        for (int flags = 0; flags < 16; ++flags) {
            const bool clamp = flags & 1, consistent = flags & 2, starts = flags & 4, with_mask = flags & 8;
            CAPTURE(static_cast<int>(policy));
            CAPTURE(flags);
            Sampling sampling{};
            sampling.mask_policy = policy, sampling.clamp = clamp, sampling.data_consistency = consistent, sampling.T = 1000;
            if (starts) sampling.start_alpha_bar = 0.1;

            Mixing networks;
            Arena arena;
            std::vector<float> x(3 * AREA), refined(with_mask ? AREA : 0);
            int done = 0;
            sample(networks, {{y, 3, HEIGHT, WIDTH}, {mask, 1, HEIGHT, WIDTH}, {h, 3, HEIGHT, WIDTH}, {clean, 3, HEIGHT, WIDTH}}, 9, sampling, table,
                   {x, 3, HEIGHT, WIDTH}, with_mask ? Planes{refined, 1, HEIGHT, WIDTH} : Planes{}, [&](int now) { CHECK(now == ++done); }, arena, workers);

            Doubles state(3 * AREA), latest(mask.begin(), mask.end());
            for (std::size_t i = 0; i < state.size(); ++i) {
                state[i] = static_cast<double>(noise[0][i]);
                if (starts) state[i] = std::sqrt(0.9) * state[i] + std::sqrt(0.1) * (2 * static_cast<double>(clean[i]) - 1);
            }
            int heads = 0;
            for (std::size_t k = 0; k < table.size(); ++k) {
                const Step& s = table[k];
                const bool last = k + 1 == table.size();
                const auto sees = [&](const Step& of) { return policy == MaskPolicy::predicted || policy == MaskPolicy::closed_form || (policy == MaskPolicy::late && of.t < 200); };
                const Doubles seen = sees(s) ? latest : Doubles(mask.begin(), mask.end());
                Doubles next(3 * AREA), found(AREA);
                for (std::size_t i = 0; i < AREA; ++i) found[i] = Mixing::found(seen[i], state[i]);
                for (std::size_t i = 0; i < next.size(); ++i) {
                    const double pixel = static_cast<double>(y[i]), light = static_cast<double>(h[i]);
                    const double e = Mixing::predicted(2 * pixel - 1, seen[i % AREA], state[i], s);
                    double z = (state[i] - std::sqrt(1 - s.alpha_bar) * e) / std::sqrt(s.alpha_bar);
                    if (clamp) z = std::clamp(z, -1.0, 1.0);
                    if (consistent) z = ((2 * light * pixel - light * light) + s.rho * z) / (light * light + s.rho);
                    if (!last) z = std::sqrt(s.alpha_bar_next) * z + std::sqrt(1 - s.alpha_bar_next - s.sigma * s.sigma) * e + s.sigma * static_cast<double>(noise[static_cast<std::uint32_t>(k + 1)][i]);
                    next[i] = z;
                }
                if (last ? with_mask : sees(table[k + 1])) {
                    ++heads;
                    latest = policy == MaskPolicy::closed_form ? closed(h, mask, found, s.rho) : found;
                }
                state = next;
            }
            double most = 0;
            for (std::size_t i = 0; i < state.size(); ++i) most = std::max(most, std::abs(state[i] - static_cast<double>(x[i])));
            for (std::size_t i = 0; i < refined.size(); ++i) most = std::max(most, std::abs(latest[i] - static_cast<double>(refined[i])));
            CHECK(most < 5e-5);
            CHECK(networks.heads == heads);
            CHECK(done == 4);
        }
}

TEST_CASE("images are padded by mirrors, or edges where they are too short, and cut back") {
    const std::vector<float> image = {1, 2, 3, 4, 5, 6};  // 2 x 3
    std::vector<float> padded(3 * 8), back(6);
    pad({image, 1, 2, 3}, {padded, 1, 3, 8});
    CHECK(padded == std::vector<float>{1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 6, 6, 1, 2, 3, 3, 3, 3, 3, 3});
    crop({padded, 1, 3, 8}, {back, 1, 2, 3});
    CHECK(back == image);
    std::vector<float> mirrored(2 * 5);
    pad({image, 1, 2, 3}, {mirrored, 1, 2, 5});
    CHECK(mirrored == std::vector<float>{1, 2, 3, 2, 1, 4, 5, 6, 5, 4});
}
