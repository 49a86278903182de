// A network on the CPU, by this project's own kernels: in float32, exact up to rounding.
#pragma once

#include <array>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "cpu/attention.h"
#include "cpu/convolution.h"
#include "cpu/degradation.h"
#include "cpu/depthwise.h"
#include "cpu/panels.h"
#include "cpu/plan.h"
#include "cpu/pointwise.h"
#include "cpu/scratch.h"
#include "forks.h"
#include "workers.h"

namespace shadowdiffusion {

// An input or output by its name: planes [channels, height, width].
struct NamedInput {
    std::string_view name;
    const float* data;
};
struct NamedOutput {
    std::string_view name;
    float* data;
};

// Calls may come from any thread and take turns. What comes out does not depend on the number of threads. Allocates when the
// size changes, and not after.
class CpuNetwork {
  public:
    CpuNetwork(Plan plan, Workers& workers) : plan_(std::move(plan)), workers_(workers), panels_(plan_.steps.size()), scratch_(workers) {}

    const Plan& plan() const { return plan_; }

    // Runs it on an image of height x width pixels, multiples of plan().multiple. `row`: plan().row values. Outputs that are
    // not named are not made. Throws RestoreError for a missing input, and std::bad_alloc.
    void run(std::size_t height, std::size_t width, std::span<const NamedInput> inputs, std::span<const float> row,
             std::span<const NamedOutput> outputs);

  private:
    // Of a convolution, its weights as each way reads them; of a pointwise step, its four matrices in their order.
    using Panels = std::array<Values, 4>;
    // The sum of a channel over all pixels, and of its squares.
    struct Sums {
        double values = 0, squares = 0;
    };

    struct GroupSums {
        double values = 0, squares = 0, channels = 0;
    };

    void lay_out(std::size_t height, std::size_t width);
    Channels at(const Slice& slice) const;
    const float* panels(std::size_t step, const ConvolutionStep& of, bool winograd);
    void make_panels(std::size_t index, const PointwiseStep& step);
    void normalise(const ConvolutionStep& step);
    void excite(const PointwiseStep& step);
    Convolution described(const ConvolutionStep& step) const;
    GatedDepthwise described(const DepthwiseStep& step) const;
    Pointwise described(const PointwiseStep& step) const;
    Degradation described(const DegradationStep& step, std::size_t height, std::size_t width) const;
    void run(const GatherStep& step, std::span<const NamedInput> inputs);
    void run(const LightStep& step, std::span<const NamedInput> inputs);
    void run(std::size_t index, const ConvolutionStep& step, std::span<const float> row);
    void run(const DepthwiseStep& step);
    void run(std::size_t index, const PointwiseStep& step);
    void run(const AttentionStep& step);
    void run(const DegradationStep& step, std::span<const NamedInput> inputs, std::span<const NamedOutput> outputs);
    void run(const ScatterStep& step, std::span<const NamedOutput> outputs);
    void add_up(const Slice& to, std::size_t blocks);

    Plan plan_;
    Workers& workers_;
    std::vector<Panels> panels_;  // by step
    WaitedForMutex turn_;

    std::size_t height_ = 0, width_ = 0;  // of the image for which what follows is
    std::vector<Channels> maps_;
    std::vector<std::vector<Sums>> sums_;  // by map and channel
    std::vector<bool> measured_;           // maps whose sums are wanted
    Values memory_, shared_, bias_, scale_;
    Scratch scratch_;
    std::vector<double> factors_;
    std::vector<double> block_sums_;
    std::vector<GroupSums> groups_;
    std::vector<const float*> sources_;
    std::vector<float*> targets_;
};

}  // namespace shadowdiffusion
