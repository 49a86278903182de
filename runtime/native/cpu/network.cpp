#include "cpu/network.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <new>

#include "cpu/planes.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t PARTS_PER_THREAD = 3;  // of what is shared, at least, so that no thread waits long for the last one
constexpr std::size_t NARROWEST = 64;        // channels of such a part
constexpr std::size_t MOST_VALUES = std::size_t{1} << 48;  // of a map: no memory holds more, and products of it would overflow

std::size_t ratio_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

std::size_t values_of(const MapShape& map, std::size_t height, std::size_t width) {
    const std::size_t rows = height / map.shrink, columns = width / map.shrink;
    if (rows > MOST_VALUES / map.channels / columns) throw std::bad_alloc();
    return rows * columns * map.channels;
}

// Calls visit(slice) for everything that a step reads or writes.
template <class Visit>
void visit_slices(const PlanStep& step, const Visit& visit) {
    if (const auto* gather = std::get_if<GatherStep>(&step)) {
        visit(gather->to);
    } else if (const auto* convolution = std::get_if<ConvolutionStep>(&step)) {
        visit(convolution->from);
        if (convolution->plus) visit(*convolution->plus);
        visit(convolution->to);
    } else if (const auto* attention = std::get_if<AttentionStep>(&step)) {
        for (const Slice& slice : {attention->query, attention->key, attention->value, attention->to}) visit(slice);
    } else {
        visit(std::get<ScatterStep>(step).from);
    }
}

// Where in one piece of memory each map lies, so that maps that are needed at the same time are apart: each at the lowest
// place that is free while it is needed.
struct Places {
    std::vector<std::size_t> begins;
    std::size_t size = 0;
};

Places places(const Plan& plan, const std::vector<std::size_t>& sizes) {
    struct Needed {
        std::size_t first = SIZE_MAX, last = 0;
    };
    std::vector<Needed> needed(sizes.size());
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
        visit_slices(plan.steps[i], [&](const Slice& slice) {
            Needed& map = needed[slice.map];
            map.first = std::min(map.first, i), map.last = i;
        });
    Places made{std::vector<std::size_t>(sizes.size()), 0};
    std::vector<std::size_t> placed;
    for (std::size_t map = 0; map < sizes.size(); ++map) {
        std::map<std::size_t, std::size_t> taken;  // begin -> end
        for (const std::size_t other : placed)
            if (needed[other].first <= needed[map].last && needed[map].first <= needed[other].last)
                taken[made.begins[other]] = std::max(taken[made.begins[other]], made.begins[other] + sizes[other]);
        std::size_t begin = 0;
        for (const auto& [from, to] : taken) {
            if (begin + sizes[map] <= from) break;
            begin = std::max(begin, to);
        }
        made.begins[map] = begin;
        made.size = std::max(made.size, begin + sizes[map]);
        placed.push_back(map);
    }
    return made;
}

}  // namespace

void CpuNetwork::run(std::size_t height, std::size_t width, std::span<const NamedInput> inputs, std::span<const float> row,
                     std::span<const NamedOutput> outputs) {
    if (height == 0 || width == 0 || height % plan_.multiple != 0 || width % plan_.multiple != 0)
        throw RestoreError(text("the network takes multiples of ", plan_.multiple, " pixels, not ", width, "x", height));
    if (row.size() != plan_.row) throw RestoreError(text("the network takes a row of ", plan_.row, " values, not ", row.size()));
    const std::lock_guard turn(turn_);
    if (height != height_ || width != width_) lay_out(height, width);
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
        if (const auto* gather = std::get_if<GatherStep>(&plan_.steps[i]))
            run(*gather, inputs);
        else if (const auto* convolution = std::get_if<ConvolutionStep>(&plan_.steps[i]))
            run(i, *convolution, row);
        else if (const auto* attention = std::get_if<AttentionStep>(&plan_.steps[i]))
            run(*attention);
        else
            run(std::get<ScatterStep>(plan_.steps[i]), outputs);
    }
}

void CpuNetwork::lay_out(std::size_t height, std::size_t width) {
    height_ = width_ = 0;  // until everything is there
    std::vector<std::size_t> sizes;
    for (const MapShape& map : plan_.maps) sizes.push_back(values_of(map, height, width));
    const Places found = places(plan_, sizes);
    if (memory_.count() < found.size) memory_ = Values(), memory_ = Values(found.size);
    maps_.clear(), sums_.clear();
    for (std::size_t i = 0; i < plan_.maps.size(); ++i) {
        const MapShape& map = plan_.maps[i];
        maps_.push_back({memory_.data() + found.begins[i], height / map.shrink, width / map.shrink, map.channels});
        sums_.emplace_back(map.channels);
    }
    measured_.assign(plan_.maps.size(), false);
    std::size_t most = 0, scratch = 0, shared = 0, block_sums = 0;
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) {
        if (const auto* step = std::get_if<ConvolutionStep>(&plan_.steps[i])) {
            if (step->normalisation) measured_[step->from.map] = true;
            const Convolution of = described(*step);
            const bool winograd = suits_winograd(of);
            panels(i, *step, winograd);
            const Way& way = winograd ? WINOGRAD : DIRECT;
            scratch = std::max(scratch, way.scratch(of));
            block_sums = std::max(block_sums, way.blocks(of) * 2 * step->to.count);
            most = std::max({most, step->from.count, step->to.count});
        } else if (const auto* attention = std::get_if<AttentionStep>(&plan_.steps[i])) {
            const Attention of{at(attention->query), at(attention->key), at(attention->value), at(attention->to), 1};
            scratch = std::max(scratch, attention_scratch(of));
            shared = std::max(shared, attention_shared(of));
        }
    }
    scratch = ratio_up(scratch, LANES) * LANES;
    if (scratch_.count() < scratch * workers_.threads()) scratch_ = Values(), scratch_ = Values(scratch * workers_.threads());
    if (shared_.count() < shared) shared_ = Values(), shared_ = Values(shared);
    if (scale_.count() < 2 * most) bias_ = Values(most), scale_ = Values(2 * most);  // the last one says that both are there
    block_sums_.resize(block_sums);
    free_.clear();
    for (unsigned i = 0; i < workers_.threads(); ++i) free_.push_back(scratch_.data() + i * scratch);
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
    Values& made = winograd ? panels_[step].winograd : panels_[step].plain;
    if (made.empty())
        made = winograd ? winograd_panels(of.weights, of.from.count, of.to.count, workers_)
                        : plain_panels(of.weights, of.kernel * of.kernel, of.from.count, of.to.count);
    return made.data();
}

// What the kernels read, but for the weights and for what depends on values.
Convolution CpuNetwork::described(const ConvolutionStep& step) const {
    Convolution of{.in = at(step.from), .out = at(step.to), .kernel = step.kernel, .step = step.step, .doubled = step.doubled,
                   .activation = step.activation};
    if (step.plus) of.plus = at(*step.plus);
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

// part(index, scratch) for all below `count`, on all threads.
template <class Part>
void CpuNetwork::share(std::size_t count, const Part& part) {
    workers_.over(count, 1, [&](std::size_t begin, std::size_t end) {
        float* scratch;
        {
            const std::lock_guard lock(free_mutex_);
            scratch = free_.back();
            free_.pop_back();
        }
        for (std::size_t i = begin; i < end; ++i) part(i, scratch);
        const std::lock_guard lock(free_mutex_);
        free_.push_back(scratch);
    });
}

void CpuNetwork::run(const GatherStep& step, std::span<const NamedInput> inputs) {
    const Channels to = at(step.to);
    sources_.clear();
    for (const std::string& name : step.inputs) {
        const auto found = std::ranges::find(inputs, name, &NamedInput::name);
        if (found == inputs.end()) throw RestoreError(text("the network takes `", name, "`, which is not given"));
        const std::size_t area = to.area() * step.patch * step.patch;
        for (std::size_t c = 0; c < plan_.inputs.at(name).channels; ++c) sources_.push_back(found->data + c * area);
    }
    workers_.over(to.height, ratio_up(to.height, PARTS_PER_THREAD * workers_.threads()), [&](std::size_t begin, std::size_t end) {
        for (std::size_t y = begin; y < end; ++y) gather_row(sources_, step.patch, to, y);
    });
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
        for (std::size_t i = 0; i < step.to.count; ++i) bias_.data()[i] += row[*step.row + i];
    const bool measured = measured_[step.to.map];
    if (measured) of.sums = block_sums_.data();
    // Blocks are what there are of parts; where those are few, each is divided by channels.
    const std::size_t blocks = way.blocks(of), outputs = step.to.count;
    const std::size_t wanted = ratio_up(PARTS_PER_THREAD * workers_.threads(), blocks);
    const std::size_t width = std::max(NARROWEST, ratio_up(outputs, wanted * PANEL) * PANEL), parts = ratio_up(outputs, width);
    share(blocks * parts, [&](std::size_t part, float* scratch) {
        const std::size_t first = part % parts * width;
        way.run(of, part / parts, first, std::min(first + width, outputs), scratch);
    });
    if (!measured) return;
    for (std::size_t i = 0; i < outputs; ++i) {
        Sums& sums = sums_[step.to.map][step.to.first + i] = {};
        for (std::size_t block = 0; block < blocks; ++block) {
            sums.values += block_sums_[2 * block * outputs + i];
            sums.squares += block_sums_[(2 * block + 1) * outputs + i];
        }
    }
}

void CpuNetwork::run(const AttentionStep& step) {
    const Attention of{at(step.query), at(step.key), at(step.value), at(step.to), step.scale};
    workers_.over(attention_parts(of), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) attention_part(of, i, shared_.data());
    });
    share(attention_blocks(of), [&](std::size_t i, float* scratch) { attention_block(of, i, shared_.data(), scratch); });
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
