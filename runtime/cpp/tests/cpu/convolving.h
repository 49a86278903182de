// One convolution with all that it reads, to be run both ways and compared.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cpu/convolution.h"
#include "cpu/grid.h"
#include "workers.h"

// height, width: of the input, even ones for kernels of 2x2. `epsilon`, `patch`: as those of shadowdiffusion::Convolution.
struct Case {
    std::size_t kernel = 3, step = 1;
    bool doubled = false;
    shadowdiffusion::Activation activation = shadowdiffusion::Activation::none;
    bool scaled = false, plus = false;
    std::size_t inputs = 16, outputs = 16, height = 5, width = 7;
    float epsilon = 0;
    std::size_t patch = 1;
    std::string text() const;
    bool winograd() const { return kernel == 3 && step == 1; }
};

// sums: [2, outputs], over all blocks; none of patches.
struct Convolved {
    std::vector<float> values;
    Grid grid;
    std::vector<double> sums;
};

class Convolving {
  public:
    explicit Convolving(const Case& of);
    const Grid& reference() const { return reference_; }
    // `winograd` or direct; blocks in pieces of `width` outputs, last one first where `backwards`.
    Convolved run(bool winograd, std::size_t width, bool backwards = false) const;

  private:
    Case case_;
    FloatMap in_, plus_;
    std::size_t out_height_, out_width_;
    shadowdiffusion::Values bias_, scale_, shift_, plain_, winograd_;
    Grid reference_;
};
