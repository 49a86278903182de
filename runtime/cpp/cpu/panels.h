// The layouts in which convolutions read their weights.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "workers.h"

namespace shadowdiffusion {

// Columns of a panel: of a matrix [inner, columns] those from a multiple of 32 on, as [inner, 32], the last filled up with
// zeros. Channels come in multiples of 16 (`LANES`), of which the rest are zeros, too.
inline constexpr std::size_t PANEL = 32, LANES = 16;

inline std::size_t panels_of(std::size_t columns) { return (columns + PANEL - 1) / PANEL; }

// Uninitialised floats, aligned to 64 bytes, on large pages where the system has them. Throws std::bad_alloc.
class Values {
  public:
    Values() = default;
    explicit Values(std::size_t count);
    float* data() const { return memory_.get(); }
    std::size_t count() const { return count_; }
    bool empty() const { return count_ == 0; }

  private:
    struct Release {
        void operator()(float* memory) const;
    };
    std::unique_ptr<float[], Release> memory_;
    std::size_t count_ = 0;
};

// weights [taps, inputs, outputs] -> panels [panel, taps * inputs, PANEL].
Values plain_panels(std::span<const float> weights, std::size_t taps, std::size_t inputs, std::size_t outputs);

// weights [3, 3, inputs, outputs] -> panels of the 36 products of Winograd's F(4x4, 3x3): [panel, 36, inputs, PANEL], each
// kernel w as G w G^T, computed in double.
Values winograd_panels(std::span<const float> weights, std::size_t inputs, std::size_t outputs, Workers& workers);

}  // namespace shadowdiffusion
