// Plans of degradation priors are read as they were written, and every kind of wrong one is refused in a line.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "cpu/refusals.h"

using namespace shadowdiffusion;
using nlohmann::json;

namespace {

std::string complaint(const std::function<void(PlanFile&)>& change) { return complaint(prior_plan(), change); }

void refused(const std::function<void(PlanFile&)>& change, const std::string& line) { CHECK(complaint(change) == line); }

// After a change of one field of a step; `place` is that within the step.
void refused(prior::Step step, const char* field, const json& value, const std::string& what, const std::string& place) {
    refused([&](PlanFile& of) { of.step(step)[field] = value; }, what + " - at `$.steps[...]." + place + "`");
}

const std::map<prior::Step, std::string> KINDS = {{prior::light, "light"}, {prior::expand, "convolution"}, {prior::gate, "depthwise"},
                                                  {prior::block, "pointwise"}, {prior::degradation, "degradation"}};

}  // namespace

TEST_CASE("the plan of a prior is read as it was written") {
    const Plan plan = prior_plan().parsed();
    CHECK(plan.multiple == 16);
    REQUIRE(plan.steps.size() == 16);
    const auto& light = std::get<LightStep>(plan.steps[prior::light]);
    CHECK(light.image == "image");
    CHECK(light.mask == "mask");
    CHECK(light.patch == 2);
    CHECK(light.to.count == 32);
    const auto& expand = std::get<ConvolutionStep>(plan.steps[prior::expand]);
    CHECK(expand.epsilon == 1e-6);
    CHECK(expand.patch == 1);
    const auto& down = std::get<ConvolutionStep>(plan.steps[prior::down]);
    CHECK(down.kernel == 2);
    CHECK(down.step == 2);
    CHECK(!down.epsilon);
    const auto& up = std::get<ConvolutionStep>(plan.steps[prior::up]);
    CHECK(up.patch == 2);
    CHECK(up.weights.size() == 48 * 4 * 32);
    CHECK(up.bias.size() == 4 * 32);
    const auto& gate = std::get<DepthwiseStep>(plan.steps[prior::gate_below]);
    CHECK(gate.from.count == 96);
    CHECK(gate.weights.size() == 9 * 96);
    const auto& block = std::get<PointwiseStep>(plan.steps[prior::block_below]);
    CHECK(block.plus.map == 5);
    CHECK(block.hidden == 80);
    CHECK(block.excitation.weights.size() == 48 * 48);
    CHECK(block.second.bias.size() == 80);
    CHECK(block.contract.weights.size() == 80 * 48);
    CHECK(block.epsilon == 1e-6);
    const auto& end = std::get<DegradationStep>(plan.steps[prior::degradation]);
    CHECK(end.weight.map == 10);
    REQUIRE(end.veil);
    CHECK(end.veil->first == 16);
    CHECK(end.matte.map == 11);
    CHECK(end.patch == 2);
    CHECK(end.least == -4);
    CHECK(end.most == 1.5f);
    CHECK(end.thickest == 0.03f);
    CHECK(std::vector<float>(end.trust.begin(), end.trust.end()) == std::vector<float>{0.9f, 0.8f, 1.1f});
    CHECK(end.clean == "clean");
    CHECK(end.shadow == "matte");
    PlanFile plain = prior_plan();
    plain.step(prior::degradation)["veil"] = plain.step(prior::degradation)["trust"] = nullptr;
    const Plan read = plain.parsed();
    CHECK(!std::get<DegradationStep>(read.steps[prior::degradation]).veil);
    CHECK(std::get<DegradationStep>(read.steps[prior::degradation]).trust.empty());
}

TEST_CASE("fields of a prior's steps that are unknown, missing or of a wrong type are refused") {
    const json wrong[] = {json::object(), json::array(), "other", -1e9, NAN};  // NaN becomes null
    for (const auto& [number, kind] : KINDS) {
        const prior::Step step = number;
        refused(step, "more", 0, "Object contains unknown field `more`", kind);
        const json fields = prior_plan().step(step);
        for (const auto& [name, value] : fields.items()) {
            const std::string field = name;
            const bool nullable = value.is_null() || field == "veil" || field == "trust" || field == "standardised";
            refused([&](PlanFile& of) { of.step(step).erase(field); },
                    "Object missing required field `" + field + "` - at `$.steps[...]." + kind + "`");
            for (const json& other : wrong)
                if (!(nullable && other.is_number_float() && std::isnan(other.get<double>())))
                    CHECK(complaint([&](PlanFile& of) { of.step(step)[field] = other; }) != "");
        }
    }
    for (const char* name : {"excitation", "project", "first", "second", "contract"}) {
        const std::string place = " - at `$.steps[...].pointwise." + std::string(name);
        refused([&](PlanFile& of) { of.step(prior::block)[name]["more"] = 0; }, "Object contains unknown field `more`" + place + "`");
        refused([&](PlanFile& of) { of.step(prior::block)[name].erase("bias"); }, "Object missing required field `bias`" + place + "`");
        refused([&](PlanFile& of) { of.step(prior::block)[name]["weights"] = of.step(prior::block)["project"]["bias"]; },
                "`t9` has 32 values, not 1024" + place + ".weights`");
    }
    std::string text = prior_plan().plan.dump();
    text.replace(text.find("\"most\":1.5"), 10, "\"most\":1e400");
    CHECK(complaint([&](PlanFile& of) { of.header["__metadata__"] = {{"plan", text}}; }).find("number overflow") != std::string::npos);
}

TEST_CASE("convolutions of 2x2, of standardised pixels and to patches must be what the kernels have") {
    refused(prior::down, "step", 1, "Expected 1 or 3 with this step, got 2", "convolution.kernel");
    refused(prior::down, "kernel", 4, "Expected `int` <= 3", "convolution.kernel");
    refused([](PlanFile& of) { of.step(prior::down)["step"] = 1, of.step(prior::down)["doubled"] = true; },
            "Expected 1 or 3 with this step, got 2 - at `$.steps[...].convolution.kernel`");
    refused(prior::down, "doubled", true, "Not of the size that comes out", "convolution.to");
    refused(prior::down, "kernel", 1, "`t16` has 6144 values, not 1536", "convolution.weights");
    for (const double epsilon : {0.0, 1e-31, -1e-6})
        refused(prior::expand, "standardised", epsilon, "Expected `float` >= 1e-30", "convolution.standardised");
    refused(prior::expand, "standardised", 1.5, "Expected `float` <= 1", "convolution.standardised");
    const std::string other = "Not of such a convolution";
    refused(prior::expand, "activation", "relu", other, "convolution.standardised");
    refused(prior::stem, "standardised", 1e-6, other, "convolution.standardised");
    refused([](PlanFile& of) {
        of.step(prior::refined)["kernel"] = 1, of.step(prior::refined)["activation"] = "none";
        of.step(prior::refined)["weights"] = of.tensor(std::vector<float>(32 * 32)), of.step(prior::refined)["standardised"] = 1e-6;
    }, other + " - at `$.steps[...].convolution.standardised`");
    for (const int patch : {0, 3})
        CHECK(complaint([&](PlanFile& of) { of.step(prior::up)["patch"] = patch; }).ends_with("convolution.patch`"));
    refused(prior::up, "patch", 1, "Not of the size that comes out", "convolution.to");
    for (const auto& [field, value] : {std::pair<const char*, json>{"kernel", 3}, {"step", 2}, {"doubled", true}})
        refused(prior::up, field, value, "Expected 1 of this kernel", "convolution.patch");
    for (const int count : {16, 48}) refused(prior::up, "to", {9, 0, count}, "Too few channels for patches", "convolution.to");
    refused(prior::up, "to", {9, 0, 64}, "Not of the output's shape", "convolution.plus");
    refused(prior::up, "plus", {8, 0, 32}, "Not of the output's shape", "convolution.plus");
    refused(prior::up, "bias", "t1", "`t1` has 32 values, not 128", "convolution.bias");
    refused(prior::up, "row", 1, "More values than the row has", "convolution.row");
    refused([](PlanFile& of) { of.step(prior::refined)["from"] = {9, 0, 32}; },
            "Only what convolutions give has sums - at `$.steps[...].convolution.from`");
}

TEST_CASE("what a prior sees must be a photo and its mask") {
    refused(prior::light, "image", "other", "Unknown name `other`", "light.image");
    refused(prior::light, "image", "clean", "Unknown name `clean`", "light.image");
    refused(prior::light, "image", "mask", "Not of the photo's shape", "light.image");
    refused(prior::light, "mask", "image", "Not of the photo's shape", "light.mask");
    refused([](PlanFile& of) { of.plan["inputs"]["mask"]["shrink"] = 2; }, "Not of the photo's shape - at `$.steps[...].light.mask`");
    refused(prior::light, "patch", 1, "Not of the map's size", "light.patch");
    refused(prior::light, "patch", 17, "Expected `int` <= 16", "light.patch");
    refused(prior::light, "to", {0, 0, 16}, "More channels than the map has", "light.patch");
    refused([](PlanFile& of) { of.plan["maps"][0]["shrink"] = 4, of.step(prior::light)["patch"] = 4; },
            "More channels than the map has - at `$.steps[...].light.patch`");
}

TEST_CASE("gates must be half of what they are made of") {
    const std::string half = "Not half of the input's shape";
    refused(prior::gate, "to", {3, 0, 16}, half, "depthwise.to");
    refused(prior::gate, "from", {2, 0, 32}, half, "depthwise.to");
    refused(prior::gate, "to", {10, 0, 32}, half, "depthwise.to");
    refused(prior::gate, "to", {2, 0, 32}, "A step cannot write what it reads", "depthwise.to");
    refused(prior::gate, "from", {6, 0, 64}, "No step before has written these channels", "depthwise.from");
    refused(prior::gate, "weights", "t0", "`t0` has 9216 values, not 576", "depthwise.weights");
    refused(prior::gate, "bias", "t1", "`t1` has 32 values, not 64", "depthwise.bias");
}

TEST_CASE("what follows a gate must be of one size, and its channels of known means") {
    refused(prior::block, "plus", {2, 0, 64}, "Not of the output's shape", "pointwise.plus");
    refused(prior::block_below, "plus", {3, 0, 32}, "Not of the output's shape", "pointwise.plus");
    refused(prior::block_below, "from", {3, 0, 32}, "Not of the output's size", "pointwise.from");
    refused(prior::block, "from", {0, 0, 32}, "Only what convolutions give has sums", "pointwise.from");
    refused(prior::block, "from", {3, 0, 16}, "`t6` has 1024 values, not 256", "pointwise.excitation.weights");
    for (const auto& slice : {json{3, 0, 32}, {1, 0, 32}})
        refused(prior::block, "to", slice, "A step cannot write what it reads", "pointwise.to");
    refused(prior::block, "plus", {12, 0, 32}, "No step before has written these channels", "pointwise.plus");
    refused(prior::block, "hidden", 24, "Expected a multiple of 16, got 24", "pointwise.hidden");
    refused(prior::block, "hidden", 0, "Expected `int` >= 1", "pointwise.hidden");
    refused(prior::block, "hidden", 48, "`t10` has 1024 values, not 1536", "pointwise.first.weights");
    refused(prior::block, "epsilon", 0, "Expected `float` >= 1e-30", "pointwise.epsilon");
}

TEST_CASE("a prior must end in what its heads can be enlarged to") {
    const auto end = [](const char* field, const json& value, const std::string& what) {
        refused(prior::degradation, field, value, what, "degradation." + std::string(field));
    };
    end("image", "mask", "Not of the photo's shape");
    end("image", "other", "Unknown name `other`");
    for (const char* head : {"weight", "veil", "matte"}) end(head, {12, 16, 32}, "No channels of any map");
    end("veil", {9, 0, 16}, "Not of the weight's size");
    for (const int patch : {1, 4}) end("patch", patch, "Not of the map's size");
    refused([](PlanFile& of) { of.step(prior::degradation)["matte"] = {10, 0, 16}, of.step(prior::degradation)["patch"] = 4; }, "");
    end("least", -21, "Expected `float` >= -20");
    end("most", 21, "Expected `float` <= 20");
    end("thickest", 1.5, "Expected `float` <= 1");
    end("thickest", -0.1, "Expected `float` >= 0");
    end("trust", "t1", "`t1` has 32 values, not 3");
    end("trust", "other", "There is no tensor `other`");
    end("clean", "image", "Unknown name `image`");
    end("clean", "matte", "Not of the photo's shape");
    end("shadow", "clean", "Not of the photo's shape");
    refused([](PlanFile& of) { of.plan["outputs"]["matte"]["shrink"] = 2; },
            "Not of the photo's shape - at `$.steps[...].degradation.shadow`");
    refused([](PlanFile& of) { of.plan["outputs"]["more"] = {{"channels", 1}, {"shrink", 1}}; },
            "No step gives the output `more` - at `$.steps`");
    refused([](PlanFile& of) { of.plan["multiple"] = 8; }, "Not in a plan of this multiple - at `$.steps[...].degradation.image`");
    refused([](PlanFile& of) { of.plan["steps"].erase(prior::veil); },
            "No step before has written these channels - at `$.steps[...].degradation.veil`");
    for (const char* head : {"weight", "veil"})  // heads of the photo's own size, and of a third of it
        for (const int shrink : {1, 3})
            CHECK(complaint([&](PlanFile& of) {
                      of.plan["multiple"] = 48, of.plan["maps"].push_back({{"channels", 16}, {"shrink", shrink}});
                      json gather = {{"gather", {{"inputs", json::array()}, {"patch", 1}, {"to", {13, 0, 16}}}}};
                      of.plan["steps"].insert(of.plan["steps"].end() - 1, gather);
                      of.step(of.plan["steps"].size() - 1)[head] = {13, 0, 16};
                  }).starts_with(std::string(head) == "weight" ? "Not of a size that can be enlarged" : "Not of the weight's size"));
    for (const int patch : {5, 8})  // of which a map of 16 channels holds none
        CHECK(complaint([&](PlanFile& of) {
                  of.plan["multiple"] = 80, of.plan["maps"].push_back({{"channels", 16}, {"shrink", patch}});
                  json gather = {{"gather", {{"inputs", json::array()}, {"patch", 1}, {"to", {13, 0, 16}}}}};
                  of.plan["steps"].insert(of.plan["steps"].end() - 1, gather);
                  json& degradation = of.step(of.plan["steps"].size() - 1);
                  degradation["matte"] = {13, 0, 16}, degradation["patch"] = patch;
              }).starts_with("Not of the map's size"));
}
