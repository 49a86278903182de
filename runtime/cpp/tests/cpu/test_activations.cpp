// Activations, through convolutions that change nothing else.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cpu/reference.h"

using namespace shadowdiffusion;

namespace {

// Each value after the activation: a convolution of 1x1 whose weights are the identity.
std::vector<float> activated(Activation activation, const std::vector<float>& values) {
    const std::size_t width = (values.size() + LANES - 1) / LANES;
    const FloatMap in(1, width, LANES), out(1, width, LANES);
    std::ranges::fill(in.values(), 0.0f);
    std::ranges::copy(values, in.values().begin());
    std::vector<float> identity(LANES * LANES), zeros(LANES);
    for (std::size_t i = 0; i < LANES; ++i) identity[i * LANES + i] = 1;
    Values bias;
    const Values panels = plain_panels(identity, 1, LANES, LANES);
    const Convolution of{.in = in.channels(), .out = out.channels(), .panels = panels.data(), .bias = aligned(zeros, bias).data(),
                         .kernel = 1, .activation = activation};
    const Values scratch(DIRECT.scratch(of));
    for (std::size_t block = 0; block < DIRECT.blocks(of); ++block) DIRECT.run(of, block, 0, LANES, scratch.data());
    return {out.values().begin(), out.values().begin() + static_cast<std::ptrdiff_t>(values.size())};
}

}  // namespace

TEST_CASE("SiLU is exact to seven digits, and to what its exponential gives beyond") {
    std::vector<float> values;
    for (int i = -100000; i <= 100000; ++i) values.push_back(static_cast<float>(i) * 1e-3f);
    const std::vector<float> made = activated(Activation::silu, values);
    double worst = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        REQUIRE(std::isfinite(made[i]));
        // cpu/activation-inl.h derives the bound; below -82 both are next to nothing
        const double x = static_cast<double>(values[i]), right = silu(x);
        const double allowed = std::abs(right) * (3.6e-7 + 7.3e-8 * std::max(-x, 0.0)) + 1e-34;
        worst = std::max(worst, std::abs(static_cast<double>(made[i]) - right) / allowed);
    }
    CHECK(worst < 1);
}

TEST_CASE("SiLU and ReLU of huge and of tiny values are what they tend to") {
    const std::vector<float> values = {0, -0.0f, 1e-30f, -1e-30f, 1e-44f, 1e4f, -1e4f, 1e30f, -1e30f, 3e38f, -87.3f, -88.5f};
    const std::vector<float> smooth = activated(Activation::silu, values), cut = activated(Activation::relu, values);
    for (std::size_t i = 0; i < values.size(); ++i) {
        CAPTURE(values[i]);
        const double right = silu(static_cast<double>(values[i]));
        CHECK(std::abs(static_cast<double>(smooth[i]) - right) <= 3.6e-7 * std::abs(right) + 1e-8);
        CHECK(cut[i] == std::max(values[i], 0.0f));
    }
}
