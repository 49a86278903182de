// Where the maps of a network lie in memory.
#pragma once

#include <cstddef>
#include <vector>

#include "cpu/plan.h"

namespace shadowdiffusion {

// Begins of the maps in one piece of memory of `size` floats. Maps that are needed at the same time are apart: each is at the
// lowest place that is free while it is needed.
struct Places {
    std::vector<std::size_t> begins;
    std::size_t size = 0;
};

// For an image of height x width pixels. Throws std::bad_alloc for sizes that no memory holds.
Places places(const Plan& plan, std::size_t height, std::size_t width);

}  // namespace shadowdiffusion
