#include "cpu/naive_network.h"

#include <algorithm>
#include <cmath>

#include "cpu/naive_degradation.h"
#include "cpu/photos.h"
#include "cpu/reference.h"

using namespace shadowdiffusion;

namespace {

class Maps {
  public:
    Maps(const Plan& plan, std::size_t height, std::size_t width) {
        for (const MapShape& map : plan.maps) maps_.emplace_back(height / map.shrink, width / map.shrink, map.channels);
    }

    Grid read(const Slice& slice) const {
        const Grid& map = maps_[slice.map];
        Grid made(map.height, map.width, slice.count);
        for (std::size_t y = 0; y < map.height; ++y)
            for (std::size_t x = 0; x < map.width; ++x) std::copy_n(map.pixel(y, x) + slice.first, slice.count, made.pixel(y, x));
        return made;
    }

    void write(const Slice& slice, const Grid& from) {
        Grid& map = maps_[slice.map];
        for (std::size_t y = 0; y < map.height; ++y)
            for (std::size_t x = 0; x < map.width; ++x) std::copy_n(from.pixel(y, x), slice.count, map.pixel(y, x) + slice.first);
    }

    Grid empty(const Slice& slice) const { return Grid(maps_[slice.map].height, maps_[slice.map].width, slice.count); }

  private:
    std::vector<Grid> maps_;
};

// Group by group: mean and variance first.
void normalise(Grid& map, const Normalisation& by) {
    for (std::size_t group = 0; group < by.count; ++group) {
        const auto over = [&](const auto& visit) {
            for (std::size_t i = 0; i < map.values.size(); ++i)
                if (by.groups[i % map.channels] == static_cast<std::int32_t>(group)) visit(map.values[i], i % map.channels);
        };
        double count = 0, sum = 0, squares = 0;
        over([&](double value, std::size_t) { sum += value, ++count; });
        const double mean = sum / count;
        over([&](double value, std::size_t) { squares += (value - mean) * (value - mean); });
        const double factor = 1 / std::sqrt(squares / count + by.epsilon);
        over([&](double& value, std::size_t c) {
            value = (value - mean) * factor * static_cast<double>(by.scale[c]) + static_cast<double>(by.shift[c]);
        });
    }
    for (std::size_t i = 0; i < map.values.size(); ++i)
        if (by.groups[i % map.channels] < 0) map.values[i] = 0;
}

Grid convolved(const Maps& maps, const ConvolutionStep& step, std::span<const float> row) {
    std::vector<float> bias(step.bias.begin(), step.bias.end());
    if (step.row)
        for (std::size_t i = 0; i < bias.size(); ++i) bias[i] += row[*step.row + i];
    Grid from = maps.read(step.from), plus;
    if (step.normalisation) normalise(from, *step.normalisation);
    if (step.plus) plus = maps.read(*step.plus);
    const Grid* added = step.plus ? &plus : nullptr;
    return convolve(from, {step.kernel, step.step, step.doubled, step.activation, step.weights, bias, {}, {}, added,
                           step.epsilon.value_or(0), step.patch});
}

// visit(value of the map, value of the plane) for patches of one plane after the other.
template <class Values, class Visit>
void over_patches(Grid& map, std::size_t first, std::size_t patch, std::size_t channels, Values& planes, const Visit& visit) {
    const std::size_t height = map.height * patch, width = map.width * patch;
    for (std::size_t c = 0; c < channels; ++c)
        for (std::size_t y = 0; y < height; ++y)
            for (std::size_t x = 0; x < width; ++x)
                visit(map.pixel(y / patch, x / patch)[first + (c * patch + y % patch) * patch + x % patch],
                      planes[(c * height + y) * width + x]);
}

class Running {
  public:
    Running(const Plan& plan, std::size_t height, std::size_t width, const Planes& inputs, std::span<const float> row)
        : plan_(plan), height_(height), width_(width), inputs_(inputs), row_(row), maps_(plan, height, width) {}

    void operator()(const GatherStep& step) {
        Grid map = maps_.empty(step.to);
        std::size_t first = 0;
        for (const std::string& name : step.inputs) {
            const std::size_t channels = plan_.inputs.at(name).channels;
            write_patches(map, first, step.patch, channels, inputs_.at(name));
            first += channels * step.patch * step.patch;
        }
        maps_.write(step.to, map);
    }

    void operator()(const LightStep& step) {
        const std::vector<float>& image = inputs_.at(step.image);
        std::vector<double> seen(image.begin(), image.end());
        for (const float value : image) seen.push_back(std::log(linear_of(static_cast<double>(value)) + 0.01) / 4.6 + 1);
        for (const float value : inputs_.at(step.mask)) seen.push_back(static_cast<double>(value));
        for (double& value : seen) value -= 0.5;
        Grid map = maps_.empty(step.to);
        write_patches(map, 0, step.patch, 7, seen);
        maps_.write(step.to, map);
    }

    void operator()(const ConvolutionStep& step) { maps_.write(step.to, convolved(maps_, step, row_)); }

    void operator()(const DepthwiseStep& step) {
        maps_.write(step.to, gate_depthwise(maps_.read(step.from), step.weights, step.bias));
    }

    void operator()(const PointwiseStep& step) {
        const auto matrix = [](const LinearWeights& of) { return Matrix{of.weights, of.bias}; };
        const Grid from = maps_.read(step.from);
        Grid means(1, 1, from.channels);
        means.values = means_of(from);
        const Grid scale = multiplied(means, matrix(step.excitation));
        maps_.write(step.to, apply_pointwise(from, maps_.read(step.plus), scale.values,
                                             {matrix(step.project), matrix(step.first), matrix(step.second), matrix(step.contract)},
                                             step.epsilon));
    }

    void operator()(const AttentionStep& step) {
        maps_.write(step.to, attend(maps_.read(step.query), maps_.read(step.key), maps_.read(step.value), static_cast<double>(step.scale)));
    }

    void operator()(const DegradationStep& step) {
        Heads heads{maps_.read(first_of(step.weight, 3)), {}, Grid(height_, width_, 1)};
        if (step.veil) heads.veil = maps_.read(first_of(*step.veil, 3));
        Grid matte = maps_.read(step.matte);
        over_patches(matte, 0, step.patch, 1, heads.matte.values, [](double value, double& plane) { plane = value; });
        const Restored made = restore_naively(grid_of(inputs_.at(step.image), 3, height_, width_), heads,
                                              {static_cast<double>(step.least), static_cast<double>(step.most),
                                               static_cast<double>(step.thickest), step.trust});
        const std::vector<float> clean = planes_of(made.clean), shadow = planes_of(made.shadow);
        outputs[step.clean].assign(clean.begin(), clean.end());
        outputs[step.shadow].assign(shadow.begin(), shadow.end());
    }

    void operator()(const ScatterStep& step) {
        Grid map = maps_.read(step.from);
        const PlanPort& port = plan_.outputs.at(step.output);
        std::vector<double>& planes = outputs[step.output];
        planes.resize(port.channels * (height_ / port.shrink) * (width_ / port.shrink));
        over_patches(map, 0, step.patch, port.channels, planes,
                     [&](double value, double& plane) { plane = step.squashed ? logistic(value) : value; });
    }

    std::map<std::string, std::vector<double>> outputs;

  private:
    static Slice first_of(Slice slice, std::size_t count) { return {slice.map, slice.first, count}; }

    template <class Values>
    static void write_patches(Grid& map, std::size_t first, std::size_t patch, std::size_t channels, const Values& planes) {
        over_patches(map, first, patch, channels, planes, [](double& value, auto plane) { value = static_cast<double>(plane); });
    }

    const Plan& plan_;
    std::size_t height_, width_;
    const Planes& inputs_;
    std::span<const float> row_;
    Maps maps_;
};

}  // namespace

std::map<std::string, std::vector<double>> run_naively(const Plan& plan, std::size_t height, std::size_t width, const Planes& inputs,
                                                       std::span<const float> row) {
    Running running(plan, height, width, inputs, row);
    for (const PlanStep& step : plan.steps) std::visit(running, step);
    return running.outputs;
}
