#include "cpu/plan_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "text.h"

using namespace shadowdiffusion;
using nlohmann::json;

std::string PlanFile::add(const char* type, const void* values, std::size_t count, std::size_t size) {
    const std::string name = text("t", header.size());
    const std::size_t begin = data.size();
    data.resize(begin + count * size);
    std::memcpy(data.data() + begin, values, count * size);
    header[name] = {{"dtype", type}, {"shape", {count}}, {"data_offsets", {begin, data.size()}}};
    return name;
}

std::string PlanFile::tensor(const std::vector<float>& values) { return add("F32", values.data(), values.size(), 4); }

std::string PlanFile::half_tensor(const std::vector<std::uint16_t>& values) { return add("F16", values.data(), values.size(), 2); }

std::vector<std::byte> PlanFile::bytes() const {
    json whole = header;
    if (!whole.contains("__metadata__")) whole["__metadata__"] = {{"plan", plan.dump()}};
    const std::string head = whole.dump();
    const std::uint64_t length = head.size();
    std::vector<std::byte> made(sizeof length + head.size() + data.size());
    std::memcpy(made.data(), &length, sizeof length);
    std::memcpy(made.data() + sizeof length, head.data(), head.size());
    std::ranges::copy(data, made.end() - static_cast<std::ptrdiff_t>(data.size()));
    return made;
}

namespace {

// Convolutions with weights of their own.
class Writer {
  public:
    explicit Writer(PlanFile& file) : file_(file) {}

    json convolution(const json& from, const json& to, std::size_t kernel, const char* activation) {
        const std::size_t inputs = from[2], outputs = to[2];
        const float deviation = 1 / std::sqrt(static_cast<float>(kernel * kernel * inputs));
        return {{"from", from}, {"to", to}, {"kernel", kernel}, {"step", 1}, {"doubled", false}, {"activation", activation},
                {"normalisation", nullptr}, {"weights", file_.tensor(numbers_.some(kernel * kernel * inputs * outputs, 0, deviation))},
                {"bias", file_.tensor(numbers_.some(outputs))}, {"row", nullptr}, {"plus", nullptr}, {"standardised", nullptr},
                {"patch", 1}};
    }

    // From pixels of so many channels to patches of 2x2.
    json enlarging(const json& from, const json& to) {
        json made = convolution(from, {to[0], to[1], 4 * to[2].get<std::size_t>()}, 1, "none");
        made["to"] = to, made["patch"] = 2;
        return made;
    }

    json depthwise(const json& from, const json& to) {
        const std::size_t channels = from[2];
        return {{"from", from}, {"to", to}, {"weights", file_.tensor(numbers_.some(9 * channels, 0, 0.3f))},
                {"bias", file_.tensor(numbers_.some(channels, 0, 0.5f))}};
    }

    json pointwise(const json& from, const json& plus, const json& to, std::size_t hidden) {
        const std::size_t inputs = from[2], outputs = to[2];
        return {{"from", from}, {"plus", plus}, {"to", to}, {"hidden", hidden}, {"epsilon", 1e-6},
                {"excitation", linear(inputs, inputs)}, {"project", linear(inputs, outputs)}, {"first", linear(outputs, hidden)},
                {"second", linear(outputs, hidden)}, {"contract", linear(hidden, outputs)}};
    }

    // In `count` groups; the last `gap` channels are in none.
    json normalisation(std::size_t channels, std::size_t count, std::size_t gap) {
        json groups = json::array();
        for (std::size_t i = 0; i < channels; ++i)
            groups.push_back(i < channels - gap ? static_cast<int>(i * count / (channels - gap)) : -1);
        return {{"groups", groups}, {"count", count}, {"scale", file_.tensor(numbers_.some(channels, 1, 0.3f))},
                {"shift", file_.tensor(numbers_.some(channels, 0, 0.3f))}, {"epsilon", 1e-5}};
    }

  private:
    json linear(std::size_t inputs, std::size_t outputs) {
        const float deviation = 1 / std::sqrt(static_cast<float>(inputs));
        return {{"weights", file_.tensor(numbers_.some(inputs * outputs, 0, deviation))}, {"bias", file_.tensor(numbers_.some(outputs, 0, 0.5f))}};
    }

    PlanFile& file_;
    Numbers numbers_{4};
};

json with(json object, const json& more) {
    object.update(more);
    return object;
}

json slice(std::size_t map, std::size_t first, std::size_t count) { return {map, first, count}; }

json shape(std::size_t channels, std::size_t shrink) { return {{"channels", channels}, {"shrink", shrink}}; }

}  // namespace

PlanFile small_plan() {
    PlanFile file;
    Writer writer(file);
    const auto& of = slice;
    const auto& map = shape;
    file.plan = {{"version", 2}, {"multiple", 4}, {"row", small::row},
                 {"inputs", {{"image", map(3, 1)}, {"prior", map(3, 1)}}}, {"outputs", {{"noise", map(3, 1)}, {"mask", map(1, 2)}}},
                 {"maps", {map(32, 2), map(80, 2), map(32, 4), map(96, 4), map(32, 4), map(32, 4), map(48, 2), map(16, 2)}}};
    const auto convolve = [&](const json& step) { file.plan["steps"].push_back({{"convolution", step}}); };
    file.plan["steps"].push_back({{"gather", {{"inputs", {"image", "prior"}}, {"patch", 2}, {"to", of(0, 0, 32)}}}});
    convolve(writer.convolution(of(0, 0, 32), of(1, 32, 48), 3, "none"));
    convolve(with(writer.convolution(of(1, 32, 48), of(2, 0, 32), 3, "silu"),
                  {{"step", 2}, {"row", 16}, {"normalisation", writer.normalisation(48, 4, 8)}}));
    convolve(with(writer.convolution(of(2, 0, 32), of(3, 0, 96), 1, "none"), {{"normalisation", writer.normalisation(32, 8, 0)}}));
    file.plan["steps"].push_back({{"attention", {{"query", of(3, 0, 32)}, {"key", of(3, 32, 32)}, {"value", of(3, 64, 32)},
                                                 {"to", of(4, 0, 32)}, {"scale", 0.2}}}});
    convolve(with(writer.convolution(of(4, 0, 32), of(5, 0, 32), 1, "none"), {{"plus", of(2, 0, 32)}}));
    convolve(with(writer.convolution(of(5, 0, 32), of(1, 0, 32), 3, "none"), {{"doubled", true}}));
    convolve(with(writer.convolution(of(1, 0, 80), of(6, 0, 48), 3, "silu"),
                  {{"row", 0}, {"normalisation", writer.normalisation(80, 8, 8)}}));
    convolve(writer.convolution(of(6, 0, 48), of(7, 0, 16), 1, "relu"));
    file.plan["steps"].push_back({{"scatter", {{"from", of(6, 0, 48)}, {"patch", 2}, {"squashed", false}, {"output", "noise"}}}});
    file.plan["steps"].push_back({{"scatter", {{"from", of(7, 0, 16)}, {"patch", 1}, {"squashed", true}, {"output", "mask"}}}});
    return file;
}

PlanFile small_plan_backwards() {
    PlanFile file = small_plan();
    json& maps = file.plan["maps"];
    std::reverse(maps.begin(), maps.end());
    for (json& step : file.plan["steps"])
        for (const char* field : {"from", "to", "plus", "query", "key", "value"})
            if (step.front().contains(field) && step.front()[field].is_array())
                step.front()[field][0] = maps.size() - 1 - step.front()[field][0].get<std::size_t>();
    return file;
}

PlanFile prior_plan() {
    PlanFile file;
    Writer writer(file);
    const auto& of = slice;
    const auto& map = shape;
    file.plan = {{"version", 2}, {"multiple", 16}, {"row", prior::row},
                 {"inputs", {{"image", map(3, 1)}, {"mask", map(1, 1)}}}, {"outputs", {{"clean", map(3, 1)}, {"matte", map(1, 1)}}},
                 {"maps", {map(32, 2), map(32, 2), map(64, 2), map(32, 2), map(32, 2), map(48, 4), map(96, 4), map(48, 4), map(48, 4),
                           map(64, 2), map(32, 4), map(16, 2), map(32, 2)}}};
    const auto add = [&](const char* kind, const json& step) { file.plan["steps"].push_back({{kind, step}}); };
    const json standardised = {{"standardised", 1e-6}};
    add("light", {{"image", "image"}, {"mask", "mask"}, {"patch", 2}, {"to", of(0, 0, 32)}});
    add("convolution", writer.convolution(of(0, 0, 32), of(1, 0, 32), 3, "none"));
    add("convolution", with(writer.convolution(of(1, 0, 32), of(2, 0, 64), 1, "none"), standardised));
    add("depthwise", writer.depthwise(of(2, 0, 64), of(3, 0, 32)));
    add("pointwise", writer.pointwise(of(3, 0, 32), of(1, 0, 32), of(4, 0, 32), 32));
    add("convolution", with(writer.convolution(of(4, 0, 32), of(5, 0, 48), 2, "none"), {{"step", 2}}));
    add("convolution", with(writer.convolution(of(5, 0, 48), of(6, 0, 96), 1, "none"), standardised));
    add("depthwise", writer.depthwise(of(6, 0, 96), of(7, 0, 48)));
    add("pointwise", writer.pointwise(of(7, 0, 48), of(5, 0, 48), of(8, 0, 48), 80));
    add("convolution", with(writer.enlarging(of(8, 0, 48), of(9, 0, 32)), {{"plus", of(4, 0, 32)}, {"row", 0}}));
    add("convolution", writer.convolution(of(0, 0, 32), of(9, 32, 32), 1, "none"));
    add("convolution", with(writer.convolution(of(9, 32, 32), of(12, 0, 32), 3, "silu"),
                            {{"plus", of(9, 0, 32)}, {"normalisation", writer.normalisation(32, 4, 0)}}));
    add("convolution", writer.convolution(of(8, 0, 48), of(10, 0, 16), 3, "none"));
    add("convolution", writer.convolution(of(8, 0, 48), of(10, 16, 16), 3, "none"));
    add("convolution", writer.convolution(of(12, 0, 32), of(11, 0, 16), 3, "none"));
    add("degradation", {{"image", "image"}, {"weight", of(10, 0, 16)}, {"veil", of(10, 16, 16)}, {"matte", of(11, 0, 16)}, {"patch", 2},
                        {"least", -4}, {"most", 1.5}, {"thickest", 0.03}, {"trust", file.tensor({0.9f, 0.8f, 1.1f})},
                        {"clean", "clean"}, {"shadow", "matte"}});
    return file;
}

PlanFile wide_plan() {
    PlanFile file = copying_plan();
    Writer writer(file);
    file.plan["maps"] = {{{"channels", 16}, {"shrink", 1}}, {{"channels", 208}, {"shrink", 1}}, {{"channels", 240}, {"shrink", 1}},
                         {{"channels", 16}, {"shrink", 1}}};
    json& steps = file.plan["steps"];
    steps.back().front()["from"] = {3, 0, 16};
    json first = writer.convolution({0, 0, 16}, {1, 0, 208}, 3, "none"), second = writer.convolution({1, 0, 208}, {2, 0, 240}, 1, "silu");
    second["normalisation"] = writer.normalisation(208, 8, 0);
    const json steps_between[] = {first, second, writer.convolution({2, 0, 240}, {3, 0, 16}, 3, "relu")};
    for (const json& step : steps_between) steps.insert(steps.end() - 1, json{{"convolution", step}});
    return file;
}

PlanFile copying_plan() {
    PlanFile file;
    file.plan = json::parse(R"({"version": 2, "multiple": 1, "row": 0, "inputs": {"in": {"channels": 3, "shrink": 1}},
        "outputs": {"out": {"channels": 3, "shrink": 1}}, "maps": [{"channels": 16, "shrink": 1}],
        "steps": [{"gather": {"inputs": ["in"], "patch": 1, "to": [0, 0, 16]}},
                  {"scatter": {"from": [0, 0, 16], "patch": 1, "squashed": false, "output": "out"}}]})");
    return file;
}
