#include "cpu/places.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <new>

#include "cpu/overloaded.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t MOST_VALUES = std::size_t{1} << 48;  // of a map: no memory holds more, and products of it would overflow

std::size_t values_of(const MapShape& map, std::size_t height, std::size_t width) {
    const std::size_t rows = height / map.shrink, columns = width / map.shrink;
    if (rows > MOST_VALUES / map.channels / columns) throw std::bad_alloc();
    return rows * columns * map.channels;
}

// What a step reads or writes.
std::vector<Slice> slices(const PlanStep& step) {
    using Slices = std::vector<Slice>;
    return std::visit(Overloaded{
                          [](const GatherStep& of) { return Slices{of.to}; },
                          [](const LightStep& of) { return Slices{of.to}; },
                          [](const ConvolutionStep& of) { return Slices{of.from, of.to, of.plus.value_or(of.to)}; },
                          [](const DepthwiseStep& of) { return Slices{of.from, of.to}; },
                          [](const PointwiseStep& of) { return Slices{of.from, of.plus, of.to}; },
                          [](const AttentionStep& of) { return Slices{of.query, of.key, of.value, of.to}; },
                          [](const DegradationStep& of) { return Slices{of.weight, of.matte, of.veil.value_or(of.matte)}; },
                          [](const ScatterStep& of) { return Slices{of.from}; },
                      },
                      step);
}

}  // namespace

Places places(const Plan& plan, std::size_t height, std::size_t width) {
    std::vector<std::size_t> sizes;
    for (const MapShape& map : plan.maps) sizes.push_back(values_of(map, height, width));
    struct Needed {
        std::size_t first = SIZE_MAX, last = 0;
    };
    std::vector<Needed> needed(sizes.size());
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
        for (const Slice& slice : slices(plan.steps[i])) {
            Needed& map = needed[slice.map];
            map.first = std::min(map.first, i), map.last = i;
        }
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

}  // namespace shadowdiffusion
