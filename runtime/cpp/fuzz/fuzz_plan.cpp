// Any bytes as the plan of a network: a Plan, or a BundleError of one line. What is accepted runs, if that is little work, and
// gives the same after an image of NaN as before: it reads nothing that it has not written.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cpu/network.h"
#include "cpu/plan.h"
#include "errors.h"

using namespace shadowdiffusion;
using nlohmann::json;

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

constexpr double MOST_WORK = 1 << 25, MOST_VALUES = 1 << 22;
constexpr std::size_t MOST_SIDE = 64;

std::size_t values_of(const PlanPort& port, std::size_t side) { return port.channels * (side / port.shrink) * (side / port.shrink); }

bool is_little_work(const Plan& plan, std::size_t side) {
    if (side > MOST_SIDE) return false;
    double work = 0, values = 0;
    const auto area = [&](const Slice& slice) { return std::pow(static_cast<double>(side / plan.maps[slice.map].shrink), 2); };
    for (const auto* ports : {&plan.inputs, &plan.outputs})
        for (const auto& [_, port] : *ports) values += static_cast<double>(values_of(port, side));
    for (const MapShape& map : plan.maps) values += static_cast<double>(values_of({map.channels, map.shrink}, side));
    const auto weights = [&](const Slice& to, std::size_t count, double copies) {
        work += area(to) * static_cast<double>(count), values += copies * static_cast<double>(count);
    };
    for (const PlanStep& step : plan.steps)
        if (const auto* convolution = std::get_if<ConvolutionStep>(&step)) {
            weights(convolution->to, convolution->weights.size(), 4);
            if (convolution->normalisation) values += static_cast<double>(convolution->normalisation->count);
        } else if (const auto* depthwise = std::get_if<DepthwiseStep>(&step)) {
            weights(depthwise->to, depthwise->weights.size(), 0);
        } else if (const auto* pointwise = std::get_if<PointwiseStep>(&step)) {
            for (const LinearWeights* of : {&pointwise->project, &pointwise->first, &pointwise->second, &pointwise->contract})
                weights(pointwise->to, of->weights.size(), 2);
        } else if (const auto* attention = std::get_if<AttentionStep>(&step)) {
            work += std::pow(area(attention->to), 2) * static_cast<double>(attention->to.count);
        } else if (std::holds_alternative<DegradationStep>(step)) {
            work += 1e4 * static_cast<double>(side * side);
        }
    return work < MOST_WORK && values < MOST_VALUES;
}

using Planes = std::map<std::string, std::vector<float>>;

Planes outputs_of(CpuNetwork& network, std::size_t side, float value) {
    const Plan& plan = network.plan();
    Planes inputs, outputs;
    std::vector<NamedInput> given;
    std::vector<NamedOutput> wanted;
    for (const auto& [name, port] : plan.inputs)
        given.push_back({name, (inputs[name] = std::vector<float>(values_of(port, side), value)).data()});
    for (const auto& [name, port] : plan.outputs)
        wanted.push_back({name, (outputs[name] = std::vector<float>(values_of(port, side))).data()});
    network.run(side, side, given, std::vector<float>(plan.row, value), wanted);
    return outputs;
}

// To the bit, NaN too.
bool same(const Planes& a, const Planes& b) {
    for (const auto& [name, planes] : a)
        if (std::memcmp(planes.data(), b.at(name).data(), planes.size() * sizeof(float)) != 0) return false;
    return true;
}

void run(Plan plan) {
    static Workers workers(1);
    const std::size_t little = plan.multiple, large = 3 * plan.multiple;
    if (!is_little_work(plan, little)) return;
    const bool both = is_little_work(plan, large);
    CpuNetwork network(std::move(plan), workers);
    for (const std::size_t side : {little, large, little}) {
        if (side == large && !both) continue;
        const Planes before = outputs_of(network, side, 0.5f);
        outputs_of(network, side, std::numeric_limits<float>::quiet_NaN());
        if (!same(outputs_of(network, side, 0.5f), before)) std::abort();
    }
}

std::string mutated(std::string text, std::size_t most) {
    const std::size_t size = text.size();
    text.resize(std::max(size, most));
    text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
    return text;
}

// A step left out, repeated or moved, or one value of the plan in place of another.
std::string restructured(const std::string& text, std::minstd_rand& random) {
    json plan = json::parse(text, nullptr, false);
    if (!plan.is_object() || !plan.contains("steps") || !plan["steps"].is_array() || plan["steps"].empty()) return text;
    json& steps = plan["steps"];
    const std::size_t one = random() % steps.size(), other = random() % steps.size();
    switch (random() % 8) {
        case 0: steps.erase(one); break;
        case 1: steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(other), json(steps[one])); break;
        case 2: std::swap(steps[one], steps[other]); break;
        default: {
            json values = plan.flatten();
            const auto any = [&] { return std::next(values.begin(), static_cast<std::ptrdiff_t>(random() % values.size())); };
            constexpr int NUMBERS[] = {-1, 0, 1, 2, 3, 4, 8, 15, 16, 32, 48, 1 << 20};
            any().value() = random() % 2 ? json(NUMBERS[random() % std::size(NUMBERS)]) : json(any().value());
            try {
                plan = values.unflatten();
            } catch (const json::exception&) {  // keys that are numbers among others that are not
            }
        }
    }
    return plan.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

// Changes the header or the plan within it, and keeps the file whole around them.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most, unsigned seed) {
    std::minstd_rand random(seed + 1);
    std::uint64_t length = 0;
    const std::size_t way = random() % 8;
    if (way == 0 || size < sizeof length) return LLVMFuzzerMutate(data, size, most);
    std::memcpy(&length, data, sizeof length);
    if (length > size - sizeof length) return LLVMFuzzerMutate(data, size, most);
    const std::uint8_t *begin = data + sizeof length, *end = begin + length;
    std::string header(begin, end);
    const std::vector<std::uint8_t> rest(end, static_cast<const std::uint8_t*>(data) + size);
    if (way == 1) {
        header = mutated(header, header.size() + 64);
    } else {
        json parsed = json::parse(header, nullptr, false);
        const json* plan = nullptr;
        if (parsed.is_object() && parsed.contains("__metadata__") && parsed["__metadata__"].is_object())
            plan = &parsed["__metadata__"]["plan"];
        if (!plan || !plan->is_string()) return LLVMFuzzerMutate(data, size, most);
        const auto text = plan->get<std::string>();
        parsed["__metadata__"]["plan"] = way < 5 ? restructured(text, random) : mutated(text, text.size() + 64);
        header = parsed.dump(-1, ' ', false, json::error_handler_t::replace);
    }
    length = header.size();
    if (sizeof length + header.size() + rest.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::memcpy(data, &length, sizeof length);
    std::memcpy(data + sizeof length, header.data(), header.size());
    if (!rest.empty()) std::memcpy(data + sizeof length + header.size(), rest.data(), rest.size());
    return sizeof length + header.size() + rest.size();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        run(parse_plan(std::as_bytes(std::span(data, size)), "it"));
    } catch (const BundleError& error) {
        if (std::strchr(error.what(), '\n')) std::abort();
    }
    return 0;
}
