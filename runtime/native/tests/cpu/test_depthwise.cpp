// The first gate of a block against a plain one in double precision, on every target of Highway.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cpu/depthwise.h"
#include "cpu/reference.h"
#include "cpu/targets.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

// What a run gives: sums [2, channels], over all blocks.
struct Gated {
    std::vector<double> values, sums;
    bool operator==(const Gated&) const = default;
};

class Gating {
  public:
    Gating(std::size_t height, std::size_t width, std::size_t channels)
        : in_(height, width, 2 * channels), out_(height, width, channels) {
        Numbers numbers(11);
        numbers.fill(in_.values(), 0.3f);
        weights_ = numbers.some(9 * 2 * channels, 0, 0.4f), bias_ = numbers.some(2 * channels);
    }

    Grid reference() const { return gate_depthwise(in_.grid(), weights_, bias_); }

    // Blocks and planes from the last ones on where `backwards`.
    Gated run(bool summed, bool backwards = false) const {
        std::ranges::fill(out_.values(), std::numeric_limits<float>::quiet_NaN());
        GatedDepthwise of{in_.channels(), out_.channels(), weights_.data(), bias_.data()};
        const std::size_t channels = of.out.channels, planes = channels / LANES, parts = depthwise_blocks(of) * planes;
        std::vector<double> sums(depthwise_blocks(of) * 2 * channels, std::numeric_limits<double>::quiet_NaN());
        if (summed) of.sums = sums.data();
        for (std::size_t i = 0; i < parts; ++i) {
            const std::size_t at = backwards ? parts - 1 - i : i;
            depthwise_block(of, at / planes, at % planes);
        }
        Gated made{out_.grid().values, std::vector<double>(summed ? 2 * channels : 0)};
        for (std::size_t i = 0; summed && i < sums.size(); ++i) made.sums[i % made.sums.size()] += sums[i];
        return made;
    }

  private:
    FloatMap in_, out_;
    std::vector<float> weights_, bias_;
};

}  // namespace

TEST_CASE("gated depthwise convolutions are right for maps of any size, with their sums") {
    const std::size_t sizes[][2] = {{1, 1}, {1, 2}, {2, 1}, {1, 19}, {19, 1}, {2, 2}, {3, 3}, {8, 5}, {9, 4}, {7, 16}, {17, 23}};
    for (const auto& [height, width] : sizes)
        for (const std::size_t channels : {16u, 48u}) {
            CAPTURE(text(height, "x", width, " pixels of ", channels, " channels"));
            const Gating gating(height, width, channels);
            const Grid right = gating.reference();
            std::vector<double> sums(2 * channels), sizes_of(2 * channels);
            for (std::size_t i = 0; i < right.values.size(); ++i) {
                const double value = right.values[i];
                sums[i % channels] += value, sums[channels + i % channels] += value * value;
                sizes_of[i % channels] += std::abs(value), sizes_of[channels + i % channels] += value * value;
            }
            on_every_target([&] {
                const Gated made = gating.run(true);
                CHECK(relative_l2(made.values, right.values) < 1e-6);
                double worst = 0;
                for (std::size_t i = 0; i < sums.size(); ++i) worst = std::max(worst, std::abs(made.sums[i] - sums[i]) / sizes_of[i]);
                CHECK(worst < 2e-5);  // of a single pixel, a sum is as wrong as a product of cancelling terms
                CHECK(gating.run(true, true) == made);
                CHECK(gating.run(false).values == made.values);
            });
        }
}
