// Plans of networks as files, made by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cpu/grid.h"
#include "cpu/plan.h"

struct PlanFile {
    // Adds a tensor and returns its name.
    std::string tensor(const std::vector<float>& values);
    std::string half_tensor(const std::vector<std::uint16_t>& values);
    nlohmann::json& step(std::size_t index) { return plan["steps"][index].front(); }
    std::vector<std::byte> bytes() const;
    shadowdiffusion::Plan parsed() const { return shadowdiffusion::parse_plan(bytes(), "it"); }

    nlohmann::json plan = nlohmann::json::object(), header = nlohmann::json::object();
    std::vector<std::byte> data;

  private:
    std::string add(const char* type, const void* values, std::size_t count, std::size_t size);
};

// A network with all kinds of steps but those of priors, of images whose sides are multiples of 4: a concatenation, an addition, gaps among
// channels that are normalised, and maps that live one after the other. Inputs "image" and "prior" of 3 channels, outputs
// "noise" of 3 channels and "mask" of 1 at half the size, a row of 48 values. Steps: SMALL.
PlanFile small_plan();

namespace small {
enum Step : std::size_t { gather, first, down, thirds, attention, project, up, last, mask, scatter_noise, scatter_mask };
inline constexpr std::size_t row = 48;
}  // namespace small

// The same with its maps listed the other way round.
PlanFile small_plan_backwards();

// A degradation prior of images whose sides are multiples of 16: two blocks, one of them at half the size of the other, patches
// beside channels that are normalised, and all heads. Inputs "image" of 3 channels and "mask" of 1, outputs "clean" of 3 channels
// and "matte" of 1, a row of 128 values. Steps: PRIOR.
PlanFile prior_plan();

namespace prior {
enum Step : std::size_t {
    light, stem, expand, gate, block, down, expand_below, gate_below, block_below, up, beside, refined, weight, veil, matte, degradation
};
inline constexpr std::size_t row = 128;
}  // namespace prior

// A network of so many channels that blocks are divided: convolutions of 1x1 and 3x3 from "in" to "out", of 3 channels.
PlanFile wide_plan();

// A copy that takes a map from image to image as it is: gather, scatter. Its input is "in", its output "out".
PlanFile copying_plan();
