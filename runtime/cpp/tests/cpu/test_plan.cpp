// Plans are read as they were written, and every kind of wrong one is refused in a line that says what and where.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "cpu/refusals.h"

using namespace shadowdiffusion;
using nlohmann::json;

namespace {

// After a change of the small plan.
std::string complaint(const std::function<void(PlanFile&)>& change) { return complaint(small_plan(), change); }

void refused(const std::function<void(PlanFile&)>& change, const std::string& line) {
    CHECK(complaint(change) == line);
}

// After a change of one field of the plan.
void refused(const char* field, const json& value, const std::string& line) {
    refused([&](PlanFile& of) { of.plan[field] = value; }, line);
}

// After a change of one field of a step; `place` is that within the step.
void refused(small::Step step, const char* field, const json& value, const std::string& what, const std::string& place) {
    refused([&](PlanFile& of) { of.step(step)[field] = value; }, what + " - at `$.steps[...]." + place + "`");
}

}  // namespace

TEST_CASE("a plan is read as it was written") {
    const Plan plan = small_plan().parsed();
    CHECK(plan.multiple == 4);
    CHECK(plan.row == small::row);
    CHECK(plan.inputs.at("prior").channels == 3);
    CHECK(plan.outputs.at("mask").shrink == 2);
    REQUIRE(plan.maps.size() == 8);
    CHECK(plan.maps[1].channels == 80);
    REQUIRE(plan.steps.size() == 11);
    const auto& gather = std::get<GatherStep>(plan.steps[small::gather]);
    CHECK(gather.inputs == std::vector<std::string>{"image", "prior"});
    CHECK(gather.patch == 2);
    const auto& down = std::get<ConvolutionStep>(plan.steps[small::down]);
    CHECK(down.from.map == 1);
    CHECK(down.from.first == 32);
    CHECK(down.from.count == 48);
    CHECK(down.kernel == 3);
    CHECK(down.step == 2);
    CHECK(!down.doubled);
    CHECK(down.activation == Activation::silu);
    CHECK(down.weights.size() == 9 * 48 * 32);
    CHECK(down.bias.size() == 32);
    CHECK(down.row == 16);
    REQUIRE(down.normalisation);
    CHECK(down.normalisation->count == 4);
    CHECK(down.normalisation->groups[39] == 3);
    CHECK(down.normalisation->groups[40] == -1);
    CHECK(down.normalisation->epsilon == 1e-5);
    CHECK(std::get<ConvolutionStep>(plan.steps[small::project]).plus->map == 2);
    CHECK(std::get<ConvolutionStep>(plan.steps[small::up]).doubled);
    CHECK(std::get<AttentionStep>(plan.steps[small::attention]).scale == 0.2f);
    CHECK(std::get<ScatterStep>(plan.steps[small::scatter_mask]).squashed);
}

TEST_CASE("half precision is read as it is: normal, subnormal, infinite and signed values") {
    PlanFile file = small_plan();
    const std::uint16_t halves[] = {0x3c00, 0xc500, 0x0001, 0x83ff, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x7e00};
    const float values[] = {1, -5, 0x1p-24f, -1023 * 0x1p-24f, 0x1p-14f, 65504, INFINITY, -INFINITY, -0.0f, NAN};
    std::vector<std::uint16_t> all(32);
    std::ranges::copy(halves, all.begin());
    file.step(small::down)["bias"] = file.half_tensor(all);
    const Plan plan = file.parsed();
    const auto bias = std::get<ConvolutionStep>(plan.steps[small::down]).bias;
    for (std::size_t i = 0; i < std::size(halves); ++i) {
        if (std::isnan(values[i]))
            CHECK(std::isnan(bias[i]));
        else
            CHECK(std::memcmp(&bias[i], &values[i], sizeof(float)) == 0);
    }
}

TEST_CASE("tensors that no step takes may be there, and have no values") {
    PlanFile file = copying_plan();
    for (const char* type : {"F32", "F16"}) file.header[type] = {{"dtype", type}, {"shape", {0, 16}}, {"data_offsets", {0, 0}}};
    file.tensor({1, 2, 3});
    CHECK(file.parsed().tensors.at("F16").empty());
    CHECK(file.parsed().tensors.at("t2") == std::vector<float>{1, 2, 3});
}

TEST_CASE("files that are cut or no plans at all are refused") {
    const std::vector<std::byte> whole = small_plan().bytes();
    const auto cut = [&](std::size_t size) {
        return std::vector<std::byte>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    };
    for (const std::size_t size : {0u, 7u}) CHECK(complaint(cut(size)) == "The file ends before its header");
    for (const std::size_t size : {8u, 100u}) CHECK(complaint(cut(size)) == "The file ends within its header");
    CHECK(complaint(cut(whole.size() - 1)).ends_with("data_offsets[...]`"));
    std::vector<std::byte> long_header = whole;
    std::memset(long_header.data(), 0xff, 8);
    CHECK(complaint(long_header) == "The file ends within its header");
    std::vector<std::byte> no_json = whole;
    no_json[8] = std::byte{'x'};
    CHECK(complaint(no_json).find("parse error at line 1, column 1") != std::string::npos);
    const auto metadata = [](const json& value) { return complaint([&](PlanFile& of) { of.header["__metadata__"] = value; }); };
    CHECK(metadata({{"format", "pt"}}) == "Object missing required field `plan` - at `$.__metadata__`");
    CHECK(metadata({{"plan", "{\n"}}).find("parse error") != std::string::npos);
    CHECK(metadata({{"plan", "[]"}}) == "Expected `object`, got `array`");
    refused("version", 1, "Version 1, this runtime reads version 2: build the engine again");
}

TEST_CASE("tensors must be where the file has them") {
    const auto change = [](const char* field, const json& value, const std::string& what, const std::string& place) {
        refused([&](PlanFile& of) { of.header["t0"][field] = value; }, what + " - at `$.t0" + place + "`");
    };
    const std::string misplaced = "Not where a tensor of its shape can be";
    change("dtype", "F64", "Expected `F32` or `F16`, got `F64`", ".dtype");
    change("dtype", "F16", misplaced, ".data_offsets");
    change("dtype", 4, "Expected `str`, got `int`", ".dtype");
    change("shape", {9, 9}, misplaced, ".data_offsets");
    change("shape", {1 << 20, 1 << 20, 1 << 20, 16}, "More values than the file has bytes", ".shape[...]");
    change("shape", {-1}, "Expected `int` >= 0", ".shape[...]");
    change("shape", 3, "Expected `array`, got `int`", ".shape");
    change("data_offsets", {-4, 0}, "Expected `int` >= 0", ".data_offsets[...]");
    for (const json& ends : {json{55296, 0}, json{0, 55296, 55296}, json::array({0})}) change("data_offsets", ends, misplaced, ".data_offsets");
    change("more", 0, "Object contains unknown field `more`", "");
    CHECK(complaint([](PlanFile& of) { of.header["t0"]["data_offsets"] = {0, 1 << 30}; }).starts_with("Expected `int` <= "));
}

TEST_CASE("fields that are unknown, missing or of a wrong type are refused") {
    const std::string unknown = "Object contains unknown field `more`";
    refused("more", 0, unknown);
    refused([](PlanFile& of) { of.plan.erase("row"); }, "Object missing required field `row`");
    refused([](PlanFile& of) { of.plan["inputs"]["image"]["more"] = 0; }, unknown + " - at `$.inputs[...]`");
    refused([](PlanFile& of) { of.plan["maps"][0]["more"] = 0; }, unknown + " - at `$.maps[...]`");
    const std::map<small::Step, std::string> kinds = {{small::gather, "gather"}, {small::first, "convolution"},
                                                      {small::attention, "attention"}, {small::scatter_mask, "scatter"}};
    for (const auto& [number, kind] : kinds) {
        const small::Step step = number;
        refused(step, "more", 0, unknown, kind);
        const json fields = small_plan().step(step);
        for (const auto& [name, _] : fields.items()) {
            const std::string field = name;
            refused([&](PlanFile& of) { of.step(step).erase(field); },
                    "Object missing required field `" + field + "` - at `$.steps[...]." + kind + "`");
            CHECK(complaint([&](PlanFile& of) { of.step(step)[field] = json::object(); }) != "");
        }
    }
    refused([](PlanFile& of) { of.step(small::down)["normalisation"]["more"] = 0; },
            unknown + " - at `$.steps[...].convolution.normalisation`");
    for (const json& step : {json("gather"), json{{"gather", 0}, {"scatter", 0}}, json::object()})
        refused([&](PlanFile& of) { of.plan["steps"][0] = step; }, "Expected one kind of step - at `$.steps[...]`");
    refused([](PlanFile& of) { of.plan["steps"][0] = {{"pooling", json::object()}}; }, "Unknown kind of step - at `$.steps[...]`");
    refused(small::first, "activation", "gelu", "Expected none, relu or silu, got `gelu`", "convolution.activation");
    refused(small::first, "kernel", 2, "Expected 1 or 3 with this step, got 2", "convolution.kernel");
    refused(small::first, "kernel", 5, "Expected `int` <= 3", "convolution.kernel");
    refused(small::first, "step", 3, "Expected `int` <= 2", "convolution.step");
}

TEST_CASE("maps and images must have sizes that go together") {
    refused("multiple", 0, "Expected `int` >= 1 - at `$.multiple`");
    refused("multiple", 6, "4 does not divide the multiple 6 - at `$.maps[...].shrink`");
    const auto map = [](const char* field, int value, const std::string& what) {
        refused([&](PlanFile& of) { of.plan["maps"][2][field] = value; }, what + " - at `$.maps[...]." + field + "`");
    };
    map("shrink", 3, "3 does not divide the multiple 4");
    map("channels", 24, "Expected a multiple of 16, got 24");
    map("channels", 0, "Expected `int` >= 1");
    map("channels", 1 << 21, "Expected `int` <= 1.04858e+06");
    refused(small::gather, "patch", 1, "Not of the map's size", "gather.inputs[...]");
    refused(small::gather, "inputs", {"image", "prior", "image"}, "More channels than the map has", "gather.inputs");
    refused(small::scatter_noise, "patch", 1, "Not of the map's size", "scatter.output");
    refused([](PlanFile& of) { of.plan["outputs"]["noise"]["channels"] = 13; },
            "More channels than the map has - at `$.steps[...].scatter.output`");
    refused(small::down, "step", 1, "Not of the size that comes out", "convolution.to");
    refused(small::first, "doubled", true, "Not of the size that comes out", "convolution.to");
    refused(small::up, "step", 2, "Not of the size that comes out", "convolution.to");
    refused(small::project, "plus", {3, 0, 48}, "Not of the output's shape", "convolution.plus");
    refused(small::project, "plus", {0, 0, 32}, "Not of the output's shape", "convolution.plus");
    refused(small::attention, "key", {3, 32, 16}, "Not of the output's shape", "attention.key");
    refused(small::attention, "value", {0, 0, 32}, "Not of the output's shape", "attention.value");
    refused(small::attention, "scale", 0, "Expected `float` > 0", "attention.scale");
}

TEST_CASE("channels must be there, and written before they are read") {
    const json outside[] = {{8, 0, 16}, {0, 8, 16}, {0, 0, 24}, {0, 0, 0}, {0, 32, 16}, {0, 0, 1 << 20}, {0, 1 << 20, 16}};
    for (const json& slice : outside) refused(small::gather, "to", slice, "No channels of any map", "gather.to");
    for (const json& slice : {json{0, 0}, json{0, 0, 16, 0}, json(3), json(nullptr)})
        refused(small::gather, "to", slice, "Expected [map, first channel, channels]", "gather.to");
    refused(small::gather, "to", {-1, 0, 16}, "Expected `int` >= 0", "gather.to");
    refused(small::gather, "to", {0, 0.5, 16}, "Expected `int`, got `float`", "gather.to");
    refused(small::first, "from", {1, 0, 32}, "No step before has written these channels", "convolution.from");
    refused(small::project, "plus", {5, 0, 32}, "No step before has written these channels", "convolution.plus");
    refused([](PlanFile& of) { of.plan["steps"].erase(small::up); },  // the last convolution reads its channels and others
            "No step before has written these channels - at `$.steps[...].convolution.from`");
    refused(small::first, "to", {0, 16, 16}, "A step cannot write what it reads", "convolution.to");
    refused(small::project, "to", {2, 0, 32}, "A step cannot write what it reads", "convolution.to");
    refused(small::attention, "to", {3, 64, 32}, "A step cannot write what it reads", "attention.to");
}

TEST_CASE("tensors, rows and groups must be as many as the step takes") {
    refused(small::first, "weights", "other", "There is no tensor `other`", "convolution.weights");
    refused(small::first, "weights", "t1", "`t1` has 48 values, not 13824", "convolution.weights");
    refused(small::first, "bias", "t0", "`t0` has 13824 values, not 48", "convolution.bias");
    refused(small::down, "row", 17, "More values than the row has", "convolution.row");
    refused(small::down, "row", -1, "Expected `int` >= 0", "convolution.row");
    refused("row", 47, "More values than the row has - at `$.steps[...].convolution.row`");
    const auto normalisation = [](const char* field, const json& value, const std::string& what, const std::string& place) {
        refused([&](PlanFile& of) { of.step(small::down)["normalisation"][field] = value; },
                what + " - at `$.steps[...].convolution.normalisation." + place + "`");
    };
    normalisation("count", 0, "Expected `int` >= 1", "count");
    normalisation("count", 3, "Expected `int` <= 2", "groups[...]");
    normalisation("groups", std::vector<int>(48, -2), "Expected `int` >= -1", "groups[...]");
    for (const std::size_t count : {47u, 49u}) normalisation("groups", std::vector<int>(count, 0), "Expected one for each channel", "groups");
    normalisation("epsilon", 0, "Expected `float` >= 1e-30", "epsilon");
    normalisation("scale", "t0", "`t0` has 13824 values, not 48", "scale");
    refused([](PlanFile& of) {
        const std::string zeros = of.tensor(std::vector<float>(32));
        of.step(small::first)["normalisation"] = {
            {"groups", std::vector<int>(32, 0)}, {"count", 1}, {"scale", zeros}, {"shift", zeros}, {"epsilon", 1e-5}};
    }, "Only what convolutions give has sums - at `$.steps[...].convolution.from`");
}

TEST_CASE("inputs and outputs must be known, and every output given") {
    refused(small::gather, "inputs", json::array({"other"}), "Unknown name `other`", "gather.inputs[...]");
    refused(small::scatter_mask, "output", "other", "Unknown name `other`", "scatter.output");
    refused([](PlanFile& of) { of.plan["steps"].erase(small::scatter_mask); }, "No step gives the output `mask` - at `$.steps`");
}

TEST_CASE("what a plan calls things does not break the line that refuses it") {
    refused(small::first, "weights", "a\nb", "There is no tensor `a?b`", "convolution.weights");
    refused("a\r\nb", 0, "Object contains unknown field `a??b`");
    refused([](PlanFile& of) { of.header["a\nb"] = {{"dtype", "F8\n"}, {"shape", {1}}, {"data_offsets", {0, 4}}}; },
            "Expected `F32` or `F16`, got `F8?` - at `$.a?b.dtype`");
}
