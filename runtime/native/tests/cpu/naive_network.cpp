#include "cpu/naive_network.h"

#include <algorithm>
#include <cmath>

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
    return convolve(from, {step.kernel, step.step, step.doubled, step.activation, step.weights, bias, {}, {}, added});
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

}  // namespace

std::map<std::string, std::vector<double>> run_naively(const Plan& plan, std::size_t height, std::size_t width, const Planes& inputs,
                                                       std::span<const float> row) {
    Maps maps(plan, height, width);
    std::map<std::string, std::vector<double>> outputs;
    for (const PlanStep& step : plan.steps) {
        if (const auto* gather = std::get_if<GatherStep>(&step)) {
            Grid map = maps.empty(gather->to);
            std::size_t first = 0;
            for (const std::string& name : gather->inputs) {
                const std::size_t channels = plan.inputs.at(name).channels;
                over_patches(map, first, gather->patch, channels, inputs.at(name),
                             [](double& value, float plane) { value = static_cast<double>(plane); });
                first += channels * gather->patch * gather->patch;
            }
            maps.write(gather->to, map);
        } else if (const auto* convolution = std::get_if<ConvolutionStep>(&step)) {
            maps.write(convolution->to, convolved(maps, *convolution, row));
        } else if (const auto* attention = std::get_if<AttentionStep>(&step)) {
            maps.write(attention->to, attend(maps.read(attention->query), maps.read(attention->key), maps.read(attention->value),
                                             static_cast<double>(attention->scale)));
        } else {
            const auto& scatter = std::get<ScatterStep>(step);
            Grid map = maps.read(scatter.from);
            const PlanPort& port = plan.outputs.at(scatter.output);
            std::vector<double>& planes = outputs[scatter.output];
            planes.resize(port.channels * (height / port.shrink) * (width / port.shrink));
            over_patches(map, 0, scatter.patch, port.channels, planes,
                         [&](double value, double& plane) { plane = scatter.squashed ? 1 / (1 + std::exp(-value)) : value; });
        }
    }
    return outputs;
}
