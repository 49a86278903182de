// What a restoration on the GPU is apart from its pixels and sizes. Twin of runtime/gpu/plan.py.
#pragma once

#include <cstddef>
#include <span>
#include <tuple>

#include "bundle/manifest.h"
#include "loop/sampler.h"

namespace shadowdiffusion {

// Equal plans on images of one size are the same launches. table: one of the manifest's, which are as long-lived as the
// bundle. blind: the prior finds the mask. with_mask: the refined mask is wanted in the end.
struct Plan {
    std::span<const Step> table;
    bool blind, with_mask;

    bool last(std::size_t step) const { return step + 1 == table.size(); }

    // Whether the mask head runs at a step.
    bool refines(const Sampling& sampling, std::size_t step) const {
        return last(step) ? with_mask : reads_refined(sampling, table[step + 1]);
    }

    // Whether it runs at all.
    bool refines(const Sampling& sampling) const {
        for (std::size_t step = 0; step < table.size(); ++step)
            if (refines(sampling, step)) return true;
        return false;
    }

    bool operator<(const Plan& other) const { return key() < other.key(); }

  private:
    std::tuple<const Step*, std::size_t, bool, bool> key() const { return {table.data(), table.size(), blind, with_mask}; }
};

}  // namespace shadowdiffusion
