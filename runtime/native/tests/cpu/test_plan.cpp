// Plans are read as they were written, and every kind of wrong one is refused in a line that says what and where.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "cpu/plan_file.h"
#include "errors.h"

using namespace shadowdiffusion;
using nlohmann::json;

namespace {

std::string complaint(const std::vector<std::byte>& bytes) {
    try {
        parse_plan(bytes, "it");
        return "";
    } catch (const BundleError& error) {
        const std::string line = error.what(), begin = "it is no plan of a network: ";
        CHECK(line.find('\n') == std::string::npos);
        REQUIRE(line.starts_with(begin));
        return line.substr(begin.size());
    }
}

// After a change of the small plan.
std::string complaint(const std::function<void(PlanFile&)>& change) {
    PlanFile file = small_plan();
    change(file);
    return complaint(file.bytes());
}

// After a change of one field of a step; the place is that within the step.
std::string after(small::Step step, const char* field, const json& value) {
    std::string line = complaint([&](PlanFile& of) { of.step(step)[field] = value; });
    const std::string steps = "$.steps[...].";
    if (const auto at = line.find(steps); at != std::string::npos) line.erase(at, steps.size());
    return line;
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

TEST_CASE("files that are cut or no plans at all are refused") {
    const std::vector<std::byte> whole = small_plan().bytes();
    const auto cut = [&](std::size_t size) {
        return std::vector<std::byte>(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    };
    CHECK(complaint(cut(0)) == "The file ends before its header");
    CHECK(complaint(cut(7)) == "The file ends before its header");
    CHECK(complaint(cut(8)) == "The file ends within its header");
    CHECK(complaint(cut(100)) == "The file ends within its header");
    CHECK(complaint(cut(whole.size() - 1)).ends_with("data_offsets[...]`"));
    std::vector<std::byte> long_header = whole;
    std::memset(long_header.data(), 0xff, 8);
    CHECK(complaint(long_header) == "The file ends within its header");
    std::vector<std::byte> no_json = whole;
    no_json[8] = std::byte{'x'};
    CHECK(complaint(no_json).find("parse error at line 1, column 1") != std::string::npos);
    CHECK(complaint([](PlanFile& of) { of.header["__metadata__"] = {{"format", "pt"}}; }) ==
          "Object missing required field `plan` - at `$.__metadata__`");
    CHECK(complaint([](PlanFile& of) { of.header["__metadata__"] = {{"plan", "{\n"}}; }).find("parse error") != std::string::npos);
    CHECK(complaint([](PlanFile& of) { of.header["__metadata__"] = {{"plan", "[]"}}; }) == "Expected `object`, got `array`");
    CHECK(complaint([](PlanFile& of) { of.plan["version"] = 2; }) ==
          "Version 2, this runtime reads version 1: build the engine again");
}

TEST_CASE("tensors must be where the file has them") {
    const auto change = [](const char* field, const json& value) {
        return complaint([&](PlanFile& of) { of.header["t0"][field] = value; });
    };
    CHECK(change("dtype", "F64") == "Expected `F32` or `F16`, got `F64` - at `$.t0.dtype`");
    CHECK(change("dtype", "F16") == "Not where a tensor of its shape can be - at `$.t0.data_offsets`");
    CHECK(change("dtype", 4) == "Expected `str`, got `int` - at `$.t0.dtype`");
    CHECK(change("shape", {9, 9}) == "Not where a tensor of its shape can be - at `$.t0.data_offsets`");
    CHECK(change("shape", {1 << 20, 1 << 20, 1 << 20, 16}) == "More values than the file has bytes - at `$.t0.shape[...]`");
    CHECK(change("shape", {-1}) == "Expected `int` >= 0 - at `$.t0.shape[...]`");
    CHECK(change("shape", 3) == "Expected `array`, got `int` - at `$.t0.shape`");
    CHECK(change("data_offsets", {0, 1 << 30}).starts_with("Expected `int` <= "));
    CHECK(change("data_offsets", {-4, 0}) == "Expected `int` >= 0 - at `$.t0.data_offsets[...]`");
    CHECK(change("data_offsets", {55296, 0}) == "Not where a tensor of its shape can be - at `$.t0.data_offsets`");
    CHECK(change("data_offsets", {0, 55296, 55296}) == "Not where a tensor of its shape can be - at `$.t0.data_offsets`");
    CHECK(change("data_offsets", {0}) == "Not where a tensor of its shape can be - at `$.t0.data_offsets`");
    CHECK(change("more", 0) == "Object contains unknown field `more` - at `$.t0`");
}

TEST_CASE("fields that are unknown, missing or of a wrong type are refused") {
    CHECK(complaint([](PlanFile& of) { of.plan["more"] = 0; }) == "Object contains unknown field `more`");
    CHECK(complaint([](PlanFile& of) { of.plan.erase("row"); }) == "Object missing required field `row`");
    CHECK(complaint([](PlanFile& of) { of.plan["inputs"]["image"]["more"] = 0; }) ==
          "Object contains unknown field `more` - at `$.inputs[...]`");
    CHECK(complaint([](PlanFile& of) { of.plan["maps"][0]["more"] = 0; }) ==
          "Object contains unknown field `more` - at `$.maps[...]`");
    for (const small::Step step : {small::gather, small::first, small::attention, small::scatter_mask}) {
        CHECK(after(step, "more", 0).starts_with("Object contains unknown field `more` - at `"));
        const json fields = small_plan().step(step);
        for (const auto& [name, _] : fields.items()) {
            const std::string field = name;
            CHECK(complaint([&](PlanFile& of) { of.step(step).erase(field); })
                      .starts_with("Object missing required field `" + field + "` - at `$.steps[...]."));
            CHECK(after(step, field.c_str(), json::object()) != "");
        }
    }
    CHECK(complaint([](PlanFile& of) { of.step(small::down)["normalisation"]["more"] = 0; }) ==
          "Object contains unknown field `more` - at `$.steps[...].convolution.normalisation`");
    CHECK(complaint([](PlanFile& of) { of.plan["steps"][0]["scatter"] = 0; }) ==
          "Expected one kind of step - at `$.steps[...]`");
    CHECK(complaint([](PlanFile& of) { of.plan["steps"][0] = "gather"; }) == "Expected one kind of step - at `$.steps[...]`");
    CHECK(complaint([](PlanFile& of) { of.plan["steps"][0] = {{"pooling", json::object()}}; }) ==
          "Unknown kind of step - at `$.steps[...]`");
    CHECK(after(small::first, "activation", "gelu") ==
          "Expected none, relu or silu, got `gelu` - at `convolution.activation`");
    CHECK(after(small::first, "kernel", 2) == "Expected 1 or 3, got 2 - at `convolution.kernel`");
    CHECK(after(small::first, "kernel", 5) == "Expected `int` <= 3 - at `convolution.kernel`");
    CHECK(after(small::first, "step", 3) == "Expected `int` <= 2 - at `convolution.step`");
}

TEST_CASE("maps and images must have sizes that go together") {
    CHECK(complaint([](PlanFile& of) { of.plan["multiple"] = 0; }) == "Expected `int` >= 1 - at `$.multiple`");
    CHECK(complaint([](PlanFile& of) { of.plan["multiple"] = 6; }) ==
          "4 does not divide the multiple 6 - at `$.maps[...].shrink`");
    CHECK(complaint([](PlanFile& of) { of.plan["maps"][2]["shrink"] = 3; }) ==
          "3 does not divide the multiple 4 - at `$.maps[...].shrink`");
    CHECK(complaint([](PlanFile& of) { of.plan["maps"][0]["channels"] = 24; }) ==
          "Expected a multiple of 16, got 24 - at `$.maps[...].channels`");
    CHECK(complaint([](PlanFile& of) { of.plan["maps"][0]["channels"] = 0; }) ==
          "Expected `int` >= 1 - at `$.maps[...].channels`");
    CHECK(complaint([](PlanFile& of) { of.plan["maps"][0]["channels"] = 1 << 21; }).starts_with("Expected `int` <= "));
    CHECK(after(small::gather, "patch", 1) == "Not of the map's size - at `gather.inputs[...]`");
    CHECK(after(small::gather, "inputs", {"image", "prior", "image"}) ==
          "More channels than the map has - at `gather.inputs`");
    CHECK(after(small::scatter_noise, "patch", 1) == "Not of the map's size - at `scatter.output`");
    CHECK(complaint([](PlanFile& of) { of.plan["outputs"]["noise"]["channels"] = 13; }) ==
          "More channels than the map has - at `$.steps[...].scatter.output`");
    CHECK(after(small::down, "step", 1) == "Not of the size that comes out - at `convolution.to`");
    CHECK(after(small::first, "doubled", true) == "Not of the size that comes out - at `convolution.to`");
    CHECK(after(small::up, "step", 2) == "Not of the size that comes out - at `convolution.to`");
    CHECK(after(small::project, "plus", {3, 0, 48}) == "Not of the output's shape - at `convolution.plus`");
    CHECK(after(small::project, "plus", {0, 0, 32}) == "Not of the output's shape - at `convolution.plus`");
    CHECK(after(small::attention, "key", {3, 32, 16}) == "Not of the output's shape - at `attention.key`");
    CHECK(after(small::attention, "value", {0, 0, 32}) == "Not of the output's shape - at `attention.value`");
    CHECK(after(small::attention, "scale", 0) == "Expected `float` > 0 - at `attention.scale`");
}

TEST_CASE("channels must be there, and written before they are read") {
    for (const json& slice : {json{8, 0, 16}, json{0, 8, 16}, json{0, 0, 24}, json{0, 0, 0}, json{0, 32, 16}, json{0, 0, 1 << 20}})
        CHECK(after(small::gather, "to", slice) == "No channels of any map - at `gather.to`");
    for (const json& slice : {json{0, 0}, json{0, 0, 16, 0}, json(3), json(nullptr)})
        CHECK(after(small::gather, "to", slice) == "Expected [map, first channel, channels] - at `gather.to`");
    CHECK(after(small::gather, "to", {-1, 0, 16}) == "Expected `int` >= 0 - at `gather.to`");
    CHECK(after(small::gather, "to", {0, 0.5, 16}) == "Expected `int`, got `float` - at `gather.to`");
    CHECK(after(small::first, "from", {1, 0, 32}) == "No step before has written these channels - at `convolution.from`");
    CHECK(after(small::project, "plus", {5, 0, 32}) == "No step before has written these channels - at `convolution.plus`");
    // half of them only
    CHECK(complaint([](PlanFile& of) { of.plan["steps"].erase(small::up); }) ==
          "No step before has written these channels - at `$.steps[...].convolution.from`");
    CHECK(after(small::first, "to", {0, 16, 16}) == "A step cannot write what it reads - at `convolution.to`");
    CHECK(after(small::project, "to", {2, 0, 32}) == "A step cannot write what it reads - at `convolution.to`");
    CHECK(after(small::attention, "to", {3, 64, 32}) == "A step cannot write what it reads - at `attention.to`");
}

TEST_CASE("tensors, rows and groups must be as many as the step takes") {
    CHECK(after(small::first, "weights", "other") == "There is no tensor `other` - at `convolution.weights`");
    CHECK(complaint([](PlanFile& of) { of.step(small::first)["weights"] = of.step(small::first)["bias"]; }) ==
          "`t1` has 48 values, not 13824 - at `$.steps[...].convolution.weights`");
    CHECK(complaint([](PlanFile& of) { of.step(small::first)["bias"] = of.tensor({1}); })
              .ends_with("has 1 values, not 48 - at `$.steps[...].convolution.bias`"));
    CHECK(after(small::down, "row", 17) == "More values than the row has - at `convolution.row`");
    CHECK(after(small::down, "row", -1) == "Expected `int` >= 0 - at `convolution.row`");
    CHECK(complaint([](PlanFile& of) { of.plan["row"] = 47; }) ==
          "More values than the row has - at `$.steps[...].convolution.row`");
    const auto normalisation = [](const char* field, const json& value) {
        return complaint([&](PlanFile& of) { of.step(small::down)["normalisation"][field] = value; });
    };
    const std::string place = " - at `$.steps[...].convolution.normalisation.";
    CHECK(normalisation("count", 0) == "Expected `int` >= 1" + place + "count`");
    CHECK(normalisation("count", 3) == "Expected `int` <= 2" + place + "groups[...]`");
    CHECK(normalisation("groups", std::vector<int>(48, -2)) == "Expected `int` >= -1" + place + "groups[...]`");
    CHECK(normalisation("groups", std::vector<int>(47, 0)) == "Expected one for each channel" + place + "groups`");
    CHECK(normalisation("groups", std::vector<int>(49, 0)) == "Expected one for each channel" + place + "groups`");
    CHECK(normalisation("epsilon", 0) == "Expected `float` > 0" + place + "epsilon`");
    CHECK(normalisation("scale", "t1").empty());  // as many, only others
    CHECK(normalisation("scale", "t0") == "`t0` has 13824 values, not 48" + place + "scale`");
    CHECK(complaint([](PlanFile& of) {
              const std::string zeros = of.tensor(std::vector<float>(32));
              of.step(small::first)["normalisation"] = {
                  {"groups", std::vector<int>(32, 0)}, {"count", 1}, {"scale", zeros}, {"shift", zeros}, {"epsilon", 1e-5}};
          }) ==
          "Only what convolutions give can be normalised - at `$.steps[...].convolution.from`");
}

TEST_CASE("inputs and outputs must be known, and every output given") {
    CHECK(after(small::gather, "inputs", {"other"}) == "Unknown name `other` - at `gather.inputs[...]`");
    CHECK(after(small::scatter_mask, "output", "other") == "Unknown name `other` - at `scatter.output`");
    CHECK(complaint([](PlanFile& of) { of.plan["steps"].erase(small::scatter_mask); }) ==
          "No step gives the output `mask` - at `$.steps`");
}

TEST_CASE("what a plan calls things does not break the line that refuses it") {
    CHECK(after(small::first, "weights", "a\nb") == "There is no tensor `a?b` - at `convolution.weights`");
    CHECK(complaint([](PlanFile& of) { of.plan["a\r\nb"] = 0; }) == "Object contains unknown field `a??b`");
    CHECK(complaint([](PlanFile& of) { of.header["a\nb"] = {{"dtype", "F8\n"}, {"shape", json::array()}, {"data_offsets", {0, 4}}}; }) ==
          "Expected `F32` or `F16`, got `F8?` - at `$.a?b.dtype`");
}
