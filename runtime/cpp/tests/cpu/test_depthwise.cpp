// The first gate of a block against a plain one in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>

#include "cpu/depthwise.h"
#include "cpu/reference.h"
#include "cpu/sums.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

// What a run gives: sums [2, channels], over all blocks.
struct Gated {
    Grid grid;
    std::vector<double> sums;
};

bool same(const Gated& a, const Gated& b) { return a.grid.values == b.grid.values && a.sums == b.sums; }

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
        Gated made{out_.grid(), std::vector<double>(summed ? 2 * channels : 0)};
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
            const Gated made = gating.run(true);
            CHECK(relative_l2(made.grid.values, right.values) < 1e-6);
            CHECK(error_of_sums(made.sums, made.grid) < 1e-6);
            CHECK(same(gating.run(true, true), made));
            CHECK(gating.run(false).grid.values == made.grid.values);
        }
}
