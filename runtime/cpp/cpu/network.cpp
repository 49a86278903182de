#include "cpu/network.h"

#include <algorithm>
#include <cmath>

#include "cpu/light.h"
#include "cpu/overloaded.h"
#include "cpu/places.h"
#include "cpu/planes.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t PARTS_PER_THREAD = 3;  // of what is shared, at least, so that no thread waits long for the last one
constexpr std::size_t NARROWEST = 64;        // channels of such a part

std::size_t ratio_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// The planes of an input. Throws RestoreError if it is missing.
const float* input(std::span<const NamedInput> inputs, const std::string& name) {
    const auto found = std::ranges::find(inputs, name, &NamedInput::name);
    if (found == inputs.end()) throw RestoreError(text("the network takes `", name, "`, which is not given"));
    return found->data;
}

}  // namespace

void CpuNetwork::run(std::size_t height, std::size_t width, std::span<const NamedInput> inputs, std::span<const float> row,
                     std::span<const NamedOutput> outputs) {
    if (height == 0 || width == 0 || height % plan_.multiple != 0 || width % plan_.multiple != 0)
        throw RestoreError(text("the network takes multiples of ", plan_.multiple, " pixels, not ", width, "x", height));
    if (row.size() != plan_.row) throw RestoreError(text("the network takes a row of ", plan_.row, " values, not ", row.size()));
    const std::lock_guard turn(turn_);
    if (height != height_ || width != width_) lay_out(height, width);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
        std::visit(Overloaded{
                       [&](const GatherStep& step) { run(step, inputs); },
                       [&](const LightStep& step) { run(step, inputs); },
                       [&](const ConvolutionStep& step) { run(i, step, row); },
                       [&](const DepthwiseStep& step) { run(step); },
                       [&](const PointwiseStep& step) { run(i, step); },
                       [&](const AttentionStep& step) { run(step); },
                       [&](const DegradationStep& step) { run(step, inputs, outputs); },
                       [&](const ScatterStep& step) { run(step, outputs); },
                   },
                   plan_.steps[i]);
}

void CpuNetwork::lay_out(std::size_t height, std::size_t width) {
    height_ = width_ = 0;  // until everything is there
    const Places found = places(plan_, height, width);
    if (memory_.count() < found.size) memory_ = Values(), memory_ = Values(found.size);
    maps_.clear(), sums_.clear();
    for (std::size_t i = 0; i < plan_.maps.size(); ++i) {
        const MapShape& map = plan_.maps[i];
        maps_.push_back({memory_.data() + found.begins[i], height / map.shrink, width / map.shrink, map.channels});
        sums_.emplace_back(map.channels);
    }
    measured_.assign(plan_.maps.size(), false);
    std::size_t most = 0, scratch = 0, shared = 0, block_sums = 0;
    const auto prepare = Overloaded{
        [](std::size_t, const GatherStep&) {},
        [&](std::size_t, const LightStep& step) { scratch = std::max(scratch, light_scratch(step.patch, at(step.to))); },
        [&](std::size_t i, const ConvolutionStep& step) {
            if (step.normalisation) measured_[step.from.map] = true;
            const Convolution of = described(step);
            const bool winograd = suits_winograd(of);
            panels(i, step, winograd);
            const Way& way = winograd ? WINOGRAD : DIRECT;
            scratch = std::max(scratch, way.scratch(of));
            block_sums = std::max(block_sums, way.blocks(of) * 2 * step.to.count);
            most = std::max({most, step.from.count, of.outputs()});
        },
        [&](std::size_t, const DepthwiseStep& step) {
            block_sums = std::max(block_sums, depthwise_blocks(described(step)) * 2 * step.to.count);
        },
        [&](std::size_t i, const PointwiseStep& step) {
            measured_[step.from.map] = true;
            make_panels(i, step);
            scratch = std::max(scratch, pointwise_scratch(described(step)));
            most = std::max(most, step.from.count);
        },
        [&](std::size_t, const AttentionStep& step) {
            const Attention of{at(step.query), at(step.key), at(step.value), at(step.to), 1};
            scratch = std::max(scratch, attention_scratch(of));
            shared = std::max(shared, attention_shared(of));
        },
        [&](std::size_t, const DegradationStep& step) {
            const Degradation of = described(step, height, width);
            scratch = std::max(scratch, degradation_scratch(of));
            shared = std::max(shared, degradation_memory(of));
        },
        [](std::size_t, const ScatterStep&) {},
    };
    for (std::size_t i = 0; i < plan_.steps.size(); ++i)
        std::visit([&](const auto& step) { prepare(i, step); }, plan_.steps[i]);
    scratch_.prepare(scratch);
    if (shared_.count() < shared) shared_ = Values(), shared_ = Values(shared);
    if (scale_.count() < 2 * most) bias_ = Values(most), scale_ = Values(2 * most);  // the last one says that both are there
    factors_.resize(most);
    block_sums_.resize(block_sums);
    height_ = height, width_ = width;
}

Channels CpuNetwork::at(const Slice& slice) const {
    Channels made = maps_[slice.map];
    made.data += slice.first * made.area();
    made.channels = slice.count;
    return made;
}

// The weights of a step as one of the ways reads them, made when first needed.
const float* CpuNetwork::panels(std::size_t step, const ConvolutionStep& of, bool winograd) {
    Values& made = panels_[step][winograd ? 1 : 0];
    if (made.empty())
        made = winograd ? winograd_panels(of.weights, of.from.count, of.to.count, workers_)
                        : plain_panels(of.weights, of.kernel * of.kernel, of.from.count, of.bias.size());
    return made.data();
}

void CpuNetwork::make_panels(std::size_t index, const PointwiseStep& step) {
    Panels& made = panels_[index];
    if (!made.back().empty()) return;
    const LinearWeights* linear[] = {&step.project, &step.first, &step.second, &step.contract};
    for (std::size_t i = 0; i < made.size(); ++i) {
        const std::size_t outputs = linear[i]->bias.size();
        made[i] = plain_panels(linear[i]->weights, 1, linear[i]->weights.size() / outputs, outputs);
    }
}

// What the kernels read, but for the weights and for what depends on values.
Convolution CpuNetwork::described(const ConvolutionStep& step) const {
    Convolution of{.in = at(step.from), .out = at(step.to), .kernel = step.kernel, .step = step.step, .doubled = step.doubled,
                   .activation = step.activation, .epsilon = static_cast<float>(step.epsilon.value_or(0)), .patch = step.patch};
    if (step.plus) of.plus = at(*step.plus);
    return of;
}

GatedDepthwise CpuNetwork::described(const DepthwiseStep& step) const {
    return {.in = at(step.from), .out = at(step.to), .weights = step.weights.data(), .bias = step.bias.data()};
}

Pointwise CpuNetwork::described(const PointwiseStep& step) const {
    Pointwise of{.in = at(step.from), .plus = at(step.plus), .out = at(step.to), .hidden = step.hidden,
                 .epsilon = static_cast<float>(step.epsilon)};
    // as many blocks for each thread, where there are few
    const std::size_t area = of.out.area(), blocks = ratio_up(area, Pointwise::MOST_PIXELS), threads = workers_.threads();
    of.pixels = ratio_up(area, ratio_up(blocks, threads) * threads);
    return of;
}

// What the kernels read, but for planes.
Degradation CpuNetwork::described(const DegradationStep& step, std::size_t height, std::size_t width) const {
    Degradation of{.height = height, .width = width, .weight = at(step.weight), .matte = at(step.matte), .patch = step.patch,
                   .least = step.least, .most = step.most, .thickest = step.thickest};
    if (step.veil) of.veil = at(*step.veil);
    if (!step.trust.empty()) of.trust = step.trust.data();
    return of;
}

// Group normalisation (Wu and He, ECCV 2018) as a scale and a shift for each channel.
void CpuNetwork::normalise(const ConvolutionStep& step) {
    const Normalisation& by = *step.normalisation;
    const std::vector<Sums>& sums = sums_[step.from.map];
    groups_.assign(by.count, {});
    const auto group_of = [&](std::size_t i) -> GroupSums* {
        return by.groups[i] < 0 ? nullptr : &groups_[static_cast<std::size_t>(by.groups[i])];
    };
    for (std::size_t i = 0; i < step.from.count; ++i)
        if (GroupSums* group = group_of(i)) {
            group->values += sums[step.from.first + i].values;
            group->squares += sums[step.from.first + i].squares;
            ++group->channels;
        }
    const auto pixels = static_cast<double>(maps_[step.from.map].area());
    float *scale = scale_.data(), *shift = scale + step.from.count;
    for (std::size_t i = 0; i < step.from.count; ++i) {
        scale[i] = shift[i] = 0;
        if (const GroupSums* group = group_of(i)) {
            const double mean = group->values / (pixels * group->channels);
            const double variance = std::max(0.0, group->squares / (pixels * group->channels) - mean * mean);
            const double factor = static_cast<double>(by.scale[i]) / std::sqrt(variance + by.epsilon);
            scale[i] = static_cast<float>(factor);
            shift[i] = static_cast<float>(static_cast<double>(by.shift[i]) - mean * factor);
        }
    }
}

// The factors of channels by their means.
void CpuNetwork::excite(const PointwiseStep& step) {
    const std::size_t count = step.from.count;
    const auto area = static_cast<double>(maps_[step.from.map].area());
    std::copy(step.excitation.bias.begin(), step.excitation.bias.end(), factors_.begin());
    for (std::size_t i = 0; i < count; ++i) {
        const double mean = sums_[step.from.map][step.from.first + i].values / area;
        const float* weights = step.excitation.weights.data() + i * count;
        for (std::size_t k = 0; k < count; ++k) factors_[k] += mean * static_cast<double>(weights[k]);
    }
    for (std::size_t k = 0; k < count; ++k) scale_.data()[k] = static_cast<float>(factors_[k]);
}

void CpuNetwork::run(const GatherStep& step, std::span<const NamedInput> inputs) {
    const Channels to = at(step.to);
    sources_.clear();
    for (const std::string& name : step.inputs) {
        const float* planes = input(inputs, name);
        const std::size_t area = to.area() * step.patch * step.patch;
        for (std::size_t c = 0; c < plan_.inputs.at(name).channels; ++c) sources_.push_back(planes + c * area);
    }
    workers_.over(to.height, ratio_up(to.height, PARTS_PER_THREAD * workers_.threads()), [&](std::size_t begin, std::size_t end) {
        for (std::size_t y = begin; y < end; ++y) gather_row(sources_, step.patch, to, y);
    });
}

void CpuNetwork::run(const LightStep& step, std::span<const NamedInput> inputs) {
    const float *image = input(inputs, step.image), *mask = input(inputs, step.mask);
    const std::size_t area = height_ * width_;
    const float* const planes[] = {image, image + area, image + 2 * area};
    const Channels to = at(step.to);
    scratch_.over(to.height, [&](std::size_t y, float* scratch) { light_row(planes, mask, step.patch, to, y, scratch); });
}

void CpuNetwork::run(std::size_t index, const ConvolutionStep& step, std::span<const float> row) {
    Convolution of = described(step);
    const bool winograd = suits_winograd(of);
    const Way& way = winograd ? WINOGRAD : DIRECT;
    of.panels = panels(index, step, winograd);
    if (step.normalisation) {
        normalise(step);
        of.scale = scale_.data(), of.shift = scale_.data() + step.from.count;
    }
    std::ranges::copy(step.bias, bias_.data());
    of.bias = bias_.data();
    if (step.row)
        for (std::size_t i = 0; i < of.outputs(); ++i) bias_.data()[i] += row[*step.row + i];
    const bool measured = measured_[step.to.map] && step.patch == 1;
    if (measured) of.sums = block_sums_.data();
    // Blocks are what there are of parts; where those are few, each is divided by channels.
    const std::size_t blocks = way.blocks(of), outputs = of.outputs();
    const std::size_t wanted = ratio_up(PARTS_PER_THREAD * workers_.threads(), blocks);
    const std::size_t width = std::max(NARROWEST, ratio_up(outputs, wanted * PANEL) * PANEL), parts = ratio_up(outputs, width);
    scratch_.over(blocks * parts, [&](std::size_t part, float* scratch) {
        const std::size_t first = part % parts * width;
        way.run(of, part / parts, first, std::min(first + width, outputs), scratch);
    });
    if (measured) add_up(step.to, blocks);
}

// The sums of the channels of a step, by blocks, to those of the map.
void CpuNetwork::add_up(const Slice& to, std::size_t blocks) {
    for (std::size_t i = 0; i < to.count; ++i) {
        Sums& sums = sums_[to.map][to.first + i] = {};
        for (std::size_t block = 0; block < blocks; ++block) {
            sums.values += block_sums_[2 * block * to.count + i];
            sums.squares += block_sums_[(2 * block + 1) * to.count + i];
        }
    }
}

void CpuNetwork::run(const DepthwiseStep& step) {
    GatedDepthwise of = described(step);
    const bool measured = measured_[step.to.map];
    if (measured) of.sums = block_sums_.data();
    const std::size_t blocks = depthwise_blocks(of), planes = step.to.count / LANES;
    workers_.over(blocks * planes, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) depthwise_block(of, i / planes, i % planes);
    });
    if (measured) add_up(step.to, blocks);
}

void CpuNetwork::run(std::size_t index, const PointwiseStep& step) {
    Pointwise of = described(step);
    excite(step);
    of.scale = scale_.data();
    Linear* linear[] = {&of.project, &of.first, &of.second, &of.contract};
    const std::span<const float> biases[] = {step.project.bias, step.first.bias, step.second.bias, step.contract.bias};
    for (std::size_t i = 0; i < panels_[index].size(); ++i) *linear[i] = {panels_[index][i].data(), biases[i].data()};
    scratch_.over(pointwise_blocks(of), [&](std::size_t i, float* scratch) { pointwise_block(of, i, scratch); });
}

void CpuNetwork::run(const AttentionStep& step) {
    const Attention of{at(step.query), at(step.key), at(step.value), at(step.to), step.scale};
    workers_.over(attention_parts(of), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) attention_part(of, i, shared_.data());
    });
    scratch_.over(attention_blocks(of), [&](std::size_t i, float* scratch) { attention_block(of, i, shared_.data(), scratch); });
}

void CpuNetwork::run(const DegradationStep& step, std::span<const NamedInput> inputs, std::span<const NamedOutput> outputs) {
    const auto planes_of = [&](const std::string& name) -> float* {
        const auto found = std::ranges::find(outputs, name, &NamedOutput::name);
        return found == outputs.end() ? nullptr : found->data;
    };
    Degradation of = described(step, height_, width_);
    const float* image = input(inputs, step.image);
    float* clean = planes_of(step.clean);
    for (std::size_t c = 0; c < of.image.size(); ++c) {
        of.image[c] = image + c * height_ * width_;
        if (clean) of.clean[c] = clean + c * height_ * width_;
    }
    of.shadow = planes_of(step.shadow);
    restore(of, shared_.data(), workers_, scratch_);
}

void CpuNetwork::run(const ScatterStep& step, std::span<const NamedOutput> outputs) {
    const auto found = std::ranges::find(outputs, step.output, &NamedOutput::name);
    if (found == outputs.end()) return;
    const Channels from = at(step.from);
    targets_.clear();
    const std::size_t area = from.area() * step.patch * step.patch;
    for (std::size_t c = 0; c < plan_.outputs.at(step.output).channels; ++c) targets_.push_back(found->data + c * area);
    workers_.over(from.height, ratio_up(from.height, PARTS_PER_THREAD * workers_.threads()),
                  [&](std::size_t begin, std::size_t end) {
                      for (std::size_t y = begin; y < end; ++y) scatter_row(from, step.patch, step.squashed, targets_, y);
                  });
}

}  // namespace shadowdiffusion
