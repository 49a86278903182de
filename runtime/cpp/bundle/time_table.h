// What the denoiser is told about time: one row per timestep, computed at export, so that no network does it here.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "bundle/bundle.h"

namespace shadowdiffusion {

// float [R, K]; `Step::row` points into it, and the denoiser's input `row` [1, K] takes one.
struct TimeTable {
    std::vector<float> values;
    std::size_t width = 0;

    std::span<const float> row(std::size_t index) const { return {values.data() + index * width, width}; }
};

// Nothing for a bundle whose denoiser takes the timestep. Throws BundleError for a file that is no such table.
std::optional<TimeTable> read_rows(const Bundle& bundle);

}  // namespace shadowdiffusion
