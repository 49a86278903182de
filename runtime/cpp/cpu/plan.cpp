#include "cpu/plan.h"

#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "bundle/json.h"
#include "cpu/degradation.h"
#include "cpu/tensors.h"
#include "errors.h"
#include "files.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

using json::Invalid;
using json::Object;
using json::Range;
using json::Value;

constexpr Range POSITIVE{1, 1 << 20}, COUNT{0, 1 << 20}, EPSILON{.least = 1e-30, .most = 1};  // float32, too

// Reads a plan, and checks that nothing is read that was not written, and nothing is out of bounds.
class Reader {
  public:
    Reader(Plan& plan, const Tensors& tensors) : plan_(plan), tensors_(tensors) {}

    void read(const Value& value) {
        Object object(value, "$");
        const std::int64_t version = object.integer("version");
        if (version != static_cast<std::int64_t>(PLAN_VERSION))
            throw Invalid(text("Version ", version, ", this runtime reads version ", PLAN_VERSION, ": build the engine again"), "$");
        plan_.multiple = size(object, "multiple", POSITIVE);
        plan_.row = size(object, "row", COUNT);
        ports(object, "inputs", plan_.inputs);
        ports(object, "outputs", plan_.outputs);
        object.array("maps", [&](const Value& map, const std::string& path) {
            Object shape(map, path);
            plan_.maps.push_back({channels(shape, "channels"), shrink(shape)});
            shape.done();
        });
        for (const MapShape& map : plan_.maps) written_.emplace_back(map.channels / LANES, false);
        summed_ = written_;
        object.array("steps", [&](const Value& step, const std::string& path) { plan_.steps.push_back(this->step(step, path)); });
        object.done();
        for (const auto& [name, _] : plan_.outputs)
            if (!given_.contains(name)) throw Invalid("No step gives the output `" + name + "`", "$.steps");
    }

  private:
    static std::size_t size(Object& object, std::string_view name, const Range& range) {
        return static_cast<std::size_t>(object.integer(name, range));
    }

    static std::size_t channels(Object& object, std::string_view name) {
        const std::size_t count = size(object, name, POSITIVE);
        if (count % LANES != 0) throw Invalid(text("Expected a multiple of ", LANES, ", got ", count), object.path(name));
        return count;
    }

    std::size_t shrink(Object& object) const {
        const std::size_t value = size(object, "shrink", POSITIVE);
        if (plan_.multiple % value != 0)
            throw Invalid(text(value, " does not divide the multiple ", plan_.multiple), object.path("shrink"));
        return value;
    }

    void ports(Object& object, std::string_view name, std::map<std::string, PlanPort>& to) {
        object.object(name, [&](const std::string& key, const Value& port, const std::string& path) {
            Object shape(port, path);
            to[key] = {size(shape, "channels", POSITIVE), shrink(shape)};
            shape.done();
        });
    }

    PlanStep step(const Value& value, const std::string& path) {
        if (!value.is_object() || value.size() != 1) throw Invalid("Expected one kind of step", path);
        const std::string& kind = value.begin().key();
        Object object(*value.begin(), path + "." + kind);
        PlanStep made = kind == "gather"        ? PlanStep(gather(object))
                        : kind == "light"       ? PlanStep(light(object))
                        : kind == "convolution" ? PlanStep(convolution(object))
                        : kind == "depthwise"   ? PlanStep(depthwise(object))
                        : kind == "pointwise"   ? PlanStep(pointwise(object))
                        : kind == "attention"   ? PlanStep(attention(object))
                        : kind == "degradation" ? PlanStep(degradation(object))
                        : kind == "scatter"     ? PlanStep(scatter(object))
                                                : throw Invalid("Unknown kind of step", path);
        object.done();
        return made;
    }

    Slice slice(const Value& value, const std::string& path) const {
        std::vector<std::size_t> parts;
        if (value.is_array())
            for (const Value& part : value) parts.push_back(static_cast<std::size_t>(json::int_of(part, path, COUNT)));
        if (parts.size() != 3) throw Invalid("Expected [map, first channel, channels]", path);
        const Slice made{parts[0], parts[1], parts[2]};
        if (made.map >= plan_.maps.size() || made.first % LANES != 0 || made.count % LANES != 0 || made.count == 0 ||
            made.first + made.count > plan_.maps[made.map].channels)
            throw Invalid("No channels of any map", path);
        return made;
    }

    // Channels that earlier steps have written.
    Slice source(Object& object, std::string_view name) {
        const Slice made = slice(object.at(name), object.path(name));
        for (std::size_t i = made.first; i < made.first + made.count; i += LANES)
            if (!written_[made.map][i / LANES]) throw Invalid("No step before has written these channels", object.path(name));
        return made;
    }

    // Channels that this step writes, at once with the reading of `sources`; `summed`: and adds up.
    Slice target(Object& object, std::initializer_list<Slice> sources, bool summed = false) {
        const Slice made = slice(object.at("to"), object.path("to"));
        for (const Slice& from : sources)
            if (from.map == made.map && from.first < made.first + made.count && made.first < from.first + from.count)
                throw Invalid("A step cannot write what it reads", object.path("to"));
        for (std::size_t i = made.first; i < made.first + made.count; i += LANES) {
            written_[made.map][i / LANES] = true;
            summed_[made.map][i / LANES] = summed;
        }
        return made;
    }

    std::size_t shrink_of(const Slice& slice) const { return plan_.maps[slice.map].shrink; }

    static void require(bool right, const char* what, const Object& object, std::string_view name) {
        if (!right) throw Invalid(what, object.path(name));
    }

    void require_sums(const Slice& slice, const Object& object, std::string_view name) const {
        for (std::size_t i = slice.first; i < slice.first + slice.count; i += LANES)
            require(summed_[slice.map][i / LANES], "Only what convolutions give has sums", object, name);
    }

    const PlanPort& port(const std::map<std::string, PlanPort>& of, const std::string& name, const std::string& path) const {
        const auto found = of.find(name);
        if (found == of.end()) throw Invalid("Unknown name `" + name + "`", path);
        return found->second;
    }

    GatherStep gather(Object& object) {
        GatherStep made;
        made.patch = size(object, "patch", {1, 16});
        made.to = target(object, {});
        std::size_t channels = 0;
        object.array("inputs", [&](const Value& value, const std::string& path) {
            made.inputs.push_back(json::text_of(value, path));
            const PlanPort& from = port(plan_.inputs, made.inputs.back(), path);
            if (from.shrink * made.patch != shrink_of(made.to)) throw Invalid("Not of the map's size", path);
            channels += from.channels * made.patch * made.patch;
        });
        require(channels <= made.to.count, "More channels than the map has", object, "inputs");
        return made;
    }

    LightStep light(Object& object) {
        LightStep made;
        made.patch = size(object, "patch", {1, 16});
        made.to = target(object, {});
        made.image = whole(object, "image", plan_.inputs, 3);
        made.mask = whole(object, "mask", plan_.inputs, 1);
        require(made.patch == shrink_of(made.to), "Not of the map's size", object, "patch");
        require(7 * made.patch * made.patch <= made.to.count, "More channels than the map has", object, "patch");
        return made;
    }

    // An input or output of the image's size.
    std::string whole(Object& object, std::string_view name, const std::map<std::string, PlanPort>& of, std::size_t channels) const {
        const std::string& key = object.text(name);
        const PlanPort& found = port(of, key, object.path(name));
        require(found.shrink == 1 && found.channels == channels, "Not of the photo's shape", object, name);
        return key;
    }

    ConvolutionStep convolution(Object& object) {
        ConvolutionStep made;
        made.from = source(object, "from");
        if (!object.at("plus").is_null()) made.plus = source(object, "plus");
        made.patch = size(object, "patch", {1, 2});
        made.to = target(object, {made.from, made.plus.value_or(Slice{plan_.maps.size(), 0, 0})}, made.patch == 1);
        made.kernel = size(object, "kernel", {1, 3});
        made.step = size(object, "step", {1, 2});
        made.doubled = object.flag("doubled");
        require(made.kernel != 2 || made.step == 2, "Expected 1 or 3 with this step, got 2", object, "kernel");
        require(made.patch == 1 || (made.kernel == 1 && made.step == 1 && !made.doubled), "Expected 1 of this kernel", object, "patch");
        require(made.patch == 1 || made.to.count % PANEL == 0, "Too few channels for patches", object, "to");
        const std::size_t in = shrink_of(made.from), out = shrink_of(made.to) * made.patch;
        require(made.doubled ? made.step == 1 && in == 2 * out : in * made.step == out, "Not of the size that comes out", object, "to");
        if (made.plus)
            require(made.plus->count == made.to.count && shrink_of(*made.plus) == shrink_of(made.to), "Not of the output's shape", object, "plus");
        made.activation = activation(object);
        const std::size_t inputs = made.from.count, outputs = made.patch * made.patch * made.to.count;
        made.weights = tensor(object, "weights", made.kernel * made.kernel * inputs * outputs);
        made.bias = tensor(object, "bias", outputs);
        if (!object.at("normalisation").is_null()) made.normalisation = normalisation(object, made.from);
        if (!object.at("standardised").is_null()) {
            made.epsilon = object.number("standardised", EPSILON);
            require(made.kernel == 1 && !made.normalisation && made.activation == Activation::none, "Not of such a convolution", object,
                    "standardised");
        }
        if (const auto row = object.integer_or_null("row", COUNT)) {
            made.row = static_cast<std::size_t>(*row);
            require(*made.row + outputs <= plan_.row, "More values than the row has", object, "row");
        }
        return made;
    }

    DepthwiseStep depthwise(Object& object) {
        DepthwiseStep made;
        made.from = source(object, "from");
        made.to = target(object, {made.from}, true);
        require(made.from.count == 2 * made.to.count && shrink_of(made.from) == shrink_of(made.to), "Not half of the input's shape",
                object, "to");
        made.weights = tensor(object, "weights", 9 * made.from.count);
        made.bias = tensor(object, "bias", made.from.count);
        return made;
    }

    PointwiseStep pointwise(Object& object) {
        PointwiseStep made;
        made.from = source(object, "from");
        made.plus = source(object, "plus");
        made.to = target(object, {made.from, made.plus});
        const std::size_t inputs = made.from.count, outputs = made.to.count, shrink = shrink_of(made.to);
        require(made.plus.count == outputs && shrink_of(made.plus) == shrink, "Not of the output's shape", object, "plus");
        require(shrink_of(made.from) == shrink, "Not of the output's size", object, "from");
        require_sums(made.from, object, "from");
        made.hidden = channels(object, "hidden");
        made.excitation = linear(object, "excitation", inputs, inputs);
        made.project = linear(object, "project", inputs, outputs);
        made.first = linear(object, "first", outputs, made.hidden);
        made.second = linear(object, "second", outputs, made.hidden);
        made.contract = linear(object, "contract", made.hidden, outputs);
        made.epsilon = object.number("epsilon", EPSILON);
        return made;
    }

    LinearWeights linear(Object& parent, std::string_view name, std::size_t inputs, std::size_t outputs) const {
        Object object(parent.at(name), parent.path(name));
        const LinearWeights made{tensor(object, "weights", inputs * outputs), tensor(object, "bias", outputs)};
        object.done();
        return made;
    }

    static Activation activation(Object& object) {
        const std::string name = object.text("activation");
        if (name == "none") return Activation::none;
        if (name == "relu") return Activation::relu;
        if (name == "silu") return Activation::silu;
        throw Invalid("Expected none, relu or silu, got `" + name + "`", object.path("activation"));
    }

    std::span<const float> tensor(Object& object, std::string_view name, std::size_t count) const {
        return tensors_.of(object.text(name), count, object.path(name));
    }

    Normalisation normalisation(Object& parent, const Slice& from) {
        Object object(parent.at("normalisation"), parent.path("normalisation"));
        Normalisation made;
        made.count = size(object, "count", POSITIVE);
        object.array("groups", [&](const Value& value, const std::string& path) {
            made.groups.push_back(static_cast<std::int32_t>(json::int_of(value, path, {-1, static_cast<double>(made.count) - 1})));
        });
        require(made.groups.size() == from.count, "Expected one for each channel", object, "groups");
        require_sums(from, parent, "from");
        made.scale = tensor(object, "scale", from.count);
        made.shift = tensor(object, "shift", from.count);
        made.epsilon = object.number("epsilon", EPSILON);
        object.done();
        return made;
    }

    AttentionStep attention(Object& object) {
        AttentionStep made;
        made.query = source(object, "query");
        made.key = source(object, "key");
        made.value = source(object, "value");
        made.to = target(object, {made.query, made.key, made.value});
        made.scale = static_cast<float>(object.number("scale", {.least = 0, .most = 1e6, .above = true}));
        const std::size_t shrink = shrink_of(made.to);
        for (const auto& [name, part] : {std::pair("query", made.query), {"key", made.key}, {"value", made.value}})
            require(part.count == made.to.count && shrink_of(part) == shrink, "Not of the output's shape", object, name);
        return made;
    }

    DegradationStep degradation(Object& object) {
        DegradationStep made;
        made.image = whole(object, "image", plan_.inputs, 3);
        made.weight = source(object, "weight");
        made.matte = source(object, "matte");
        made.patch = size(object, "patch", {1, 16});
        const std::size_t shrink = shrink_of(made.weight);
        require(plan_.multiple % DEGRADATION_MULTIPLE == 0, "Not in a plan of this multiple", object, "image");
        require(shrink % 2 == 0, "Not of a size that can be enlarged", object, "weight");
        require(made.patch == shrink_of(made.matte) && made.patch * made.patch <= made.matte.count, "Not of the map's size", object, "patch");
        if (!object.at("veil").is_null()) {
            made.veil = source(object, "veil");
            require(shrink_of(*made.veil) == shrink, "Not of the weight's size", object, "veil");
        }
        constexpr Range LOGARITHM{.least = -20, .most = 20};
        made.least = static_cast<float>(object.number("least", LOGARITHM));
        made.most = static_cast<float>(object.number("most", LOGARITHM));
        made.thickest = static_cast<float>(object.number("thickest", {.least = 0, .most = 1}));
        if (!object.at("trust").is_null()) made.trust = tensor(object, "trust", 3);
        made.clean = whole(object, "clean", plan_.outputs, 3);
        made.shadow = whole(object, "shadow", plan_.outputs, 1);
        given_.insert({made.clean, made.shadow});
        return made;
    }

    ScatterStep scatter(Object& object) {
        ScatterStep made;
        made.from = source(object, "from");
        made.patch = size(object, "patch", {1, 16});
        made.squashed = object.flag("squashed");
        made.output = object.text("output");
        const PlanPort& to = port(plan_.outputs, made.output, object.path("output"));
        require(to.shrink * made.patch == shrink_of(made.from), "Not of the map's size", object, "output");
        require(to.channels * made.patch * made.patch <= made.from.count, "More channels than the map has", object, "output");
        given_.insert(made.output);
        return made;
    }

    Plan& plan_;
    const Tensors& tensors_;
    std::vector<std::vector<bool>> written_, summed_;  // by map, LANES channels at a time
    std::set<std::string> given_;
};

}  // namespace

const char* cpu_kernels_version() {
    static const std::string version = text(SHADOWDIFFUSION_CPU_KERNELS_VERSION, ".", PLAN_VERSION);
    return version.c_str();
}

Plan parse_plan(std::span<const std::byte> bytes, const std::string& source) {
    try {
        std::uint64_t length = 0;
        if (bytes.size() < sizeof length) throw Invalid("The file ends before its header", "$");
        std::memcpy(&length, bytes.data(), sizeof length);
        if (length > bytes.size() - sizeof length) throw Invalid("The file ends within its header", "$");
        const auto* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
        const Value header = Value::parse(text, text + length);
        Object object(header, "$");
        Object metadata(object.at("__metadata__"), "$.__metadata__");
        const Value steps = Value::parse(metadata.text("plan"));
        Tensors tensors(header, bytes.subspan(sizeof length + length));
        Plan plan;
        Reader(plan, tensors).read(steps);
        plan.tensors = std::move(tensors).take();
        return plan;
    } catch (const nlohmann::json::exception& error) {
        throw BundleError(text(source, " is no plan of a network: ", error.what()));
    } catch (const Invalid& error) {
        throw BundleError(text(source, " is no plan of a network: ", error.what()));
    }
}

Plan read_plan(const std::filesystem::path& path) {
    try {
        return parse_plan(read_file(path), path.string());
    } catch (const std::system_error& error) {
        throw BundleError(text(path.string(), " cannot be read: ", error.code().message()));
    }
}

}  // namespace shadowdiffusion
