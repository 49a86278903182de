// A network as a plan: feature maps, and the steps that fill them one after the other, as `shadowdiffusion export build-engine
// --backend cpu-kernels` writes it (export/cpu_graph/plan.py says what everything means).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "cpu/convolution.h"

namespace shadowdiffusion {

inline constexpr std::size_t PLAN_VERSION = 2;

// Channels [first, first + count) of a map, all multiples of LANES.
struct Slice {
    std::size_t map, first, count;
};

struct GatherStep {
    std::vector<std::string> inputs;
    std::size_t patch;
    Slice to;
};

// What a degradation prior sees of a photo and its mask.
struct LightStep {
    std::string image, mask;
    std::size_t patch;
    Slice to;
};

struct Normalisation {
    std::vector<std::int32_t> groups;  // of each channel; -1: the channel is filled up with zeros
    std::size_t count;                 // of groups
    std::span<const float> scale, shift;
    double epsilon;
};

struct ConvolutionStep {
    Slice from, to;
    std::size_t kernel, step;
    bool doubled;
    Activation activation;
    std::optional<Normalisation> normalisation;
    std::optional<double> epsilon;  // of the standardisation of each pixel
    std::size_t patch;
    std::span<const float> weights, bias;  // [kernel, kernel, inputs, patch * patch * outputs], [patch * patch * outputs]
    std::optional<std::size_t> row;        // where in the network's row the values begin that are added to the bias
    std::optional<Slice> plus;
};

struct DepthwiseStep {
    Slice from, to;
    std::span<const float> weights, bias;  // [3, 3, inputs], [inputs]
};

struct LinearWeights {
    std::span<const float> weights, bias;  // [inputs, outputs], [outputs]
};

// The factors of `from` are excitation's product with the means of its channels (squeeze and excitation, Hu et al., CVPR 2018).
struct PointwiseStep {
    Slice from, plus, to;
    std::size_t hidden;
    LinearWeights excitation, project, first, second, contract;
    double epsilon;
};

struct AttentionStep {
    Slice query, key, value, to;
    float scale;
};

struct ScatterStep {
    Slice from;
    std::size_t patch;
    bool squashed;
    std::string output;
};

// The end of a degradation prior, as `Degradation` has it.
struct DegradationStep {
    std::string image;
    Slice weight, matte;
    std::optional<Slice> veil;
    std::size_t patch;
    float least, most, thickest;
    std::span<const float> trust;  // [3], or empty
    std::string clean, shadow;     // outputs
};

using PlanStep = std::variant<GatherStep, LightStep, ConvolutionStep, DepthwiseStep, PointwiseStep, AttentionStep, DegradationStep, ScatterStep>;

struct MapShape {
    std::size_t channels, shrink;  // the image's side over the map's
};

// An input or an output: planes [channels, height / shrink, width / shrink] of the image's size.
struct PlanPort {
    std::size_t channels, shrink;
};

struct Plan {
    Plan() = default;
    Plan(Plan&&) = default;  // never copied: the spans of its steps are of its own tensors
    Plan& operator=(Plan&&) = default;

    std::size_t multiple = 1;  // of which image heights and widths must be multiples
    std::size_t row = 0;       // values of the row for time; 0: takes none
    std::map<std::string, PlanPort> inputs, outputs;
    std::vector<MapShape> maps;
    std::vector<PlanStep> steps;
    std::map<std::string, std::vector<float>> tensors;  // that the spans above are of
};

// The kernels' version, and that of the plans that they read: engines are of one.
const char* cpu_kernels_version();

// Throws BundleError if the bytes are no plan, or one that would read or write outside of anything.
Plan parse_plan(std::span<const std::byte> bytes, const std::string& source);

// The same of a file.
Plan read_plan(const std::filesystem::path& path);

}  // namespace shadowdiffusion
