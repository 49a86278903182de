#include "bundle/manifest.h"

#include <algorithm>
#include <array>

#include "bundle/contradictions.h"
#include "bundle/json.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

using json::Invalid;
using json::Object;
using json::Range;
using json::Value;

constexpr std::array<std::string_view, 3> TASKS{"shadow", "low-light", "exposure"};
constexpr std::array<std::string_view, 4> MASK_POLICIES{"input", "predicted", "late", "closed-form"};
constexpr std::array<std::string_view, 3> RHO_SCHEDULES{"constant", "geometric", "linear"};
constexpr std::array<std::string_view, 3> REFERENCES{"PyTorch", "golden", "portable ONNX"};
constexpr std::array<std::string_view, 2> EXACTNESS{"exact", "approximate"};
constexpr double ENDLESS = std::numeric_limits<double>::infinity();
constexpr Range POSITIVE{1, ENDLESS}, FROM_ZERO{0, ENDLESS}, ABOVE_ZERO{0, ENDLESS, true};
constexpr Range UNIT{0, 1}, OPEN_UNIT{0, 1, true, true}, ABOVE_ZERO_TO_ONE{0, 1, true};

bool is_hexadecimal(std::string_view digest) {
    return digest.size() == 64 && digest.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string digest_of(Object& object, std::string_view name) {
    std::string digest = object.text(name);
    if (!is_hexadecimal(digest)) throw Invalid("Expected `str` matching regex '^[0-9a-f]{64}$'", object.path(name));
    return digest;
}

// The index of a text among those allowed.
template <std::size_t Count>
std::size_t one_of(Object& object, std::string_view name, const std::array<std::string_view, Count>& allowed) {
    const std::string value = object.text(name);
    const auto found = std::ranges::find(allowed, value);
    if (found == allowed.end()) throw Invalid("Invalid enum value '" + value + "'", object.path(name));
    return static_cast<std::size_t>(found - allowed.begin());
}

Illumination illumination_of(const Value& value, const std::string& path) {
    Object object(value, path);
    Illumination found{object.number("epsilon", ABOVE_ZERO), object.number("floor", FROM_ZERO),
                       object.number("ceiling", ABOVE_ZERO), 0};
    const bool stated = object.find("photo_epsilon") != nullptr;
    found.photo_epsilon = (stated ? object.number_or_null("photo_epsilon", FROM_ZERO) : std::nullopt).value_or(found.epsilon);
    object.done();
    return found;
}

ModelInfo model_of(const Value& value, const std::string& path) {
    Object object(value, path);
    ModelInfo model{.denoiser_size = object.text("denoiser_size"),
                    .denoiser_parameters = object.integer("denoiser_parameters", POSITIVE),
                    .prior_parameters = object.integer_or_null("prior_parameters", POSITIVE),
                    .multiple = object.integer("multiple", {1, 512}),
                    .working_size = object.integer("working_size", POSITIVE),
                    .illumination = illumination_of(object.at("illumination"), object.path("illumination")),
                    .matte_threshold = object.number("matte_threshold", UNIT),
                    .blind_mask = object.number("blind_mask", UNIT)};
    object.done();
    return model;
}

Step step_of(const Value& value, const std::string& path) {
    Object object(value, path);
    Step step{.t = object.integer("t", FROM_ZERO),
              .alpha_bar = object.number("alpha_bar", OPEN_UNIT),
              .alpha_bar_next = object.number("alpha_bar_next", ABOVE_ZERO_TO_ONE),
              .sigma = object.number("sigma", FROM_ZERO),
              .rho = object.number("rho", FROM_ZERO),
              .row = {}};
    if (object.find("row")) step.row = object.integer_or_null("row", FROM_ZERO);
    object.done();
    return step;
}

Sampling sampling_of(const Value& value, const std::string& path) {
    Object object(value, path);
    Sampling sampling{.default_steps = object.integer("default_steps", POSITIVE),
                      .eta = object.number("eta", FROM_ZERO),
                      .rho_schedule = std::string(RHO_SCHEDULES[one_of(object, "rho_schedule", RHO_SCHEDULES)]),
                      .rho_gamma = object.number("rho_gamma"),
                      .mask_policy = static_cast<MaskPolicy>(one_of(object, "mask_policy", MASK_POLICIES)),
                      .data_consistency = object.flag("data_consistency"),
                      .clamp = object.flag("clamp"),
                      .start = object.integer_or_null("start", POSITIVE),
                      .T = object.integer("T", POSITIVE),
                      .start_alpha_bar = object.number_or_null("start_alpha_bar", OPEN_UNIT),
                      .tables = {}};
    object.object("tables", [&](const std::string& key, const Value& steps, const std::string& at) {
        if (!steps.is_array()) throw Invalid("Expected `array`, got `" + json::type_of(steps) + "`", at);
        std::vector<Step>& table = sampling.tables[key];
        for (const Value& step : steps) table.push_back(step_of(step, at + "[...]"));
    });
    object.done();
    return sampling;
}

FileEntry entry_of(const Value& value, const std::string& path) {
    Object object(value, path);
    FileEntry entry{static_cast<std::uint64_t>(object.integer("size", FROM_ZERO)), digest_of(object, "sha256")};
    object.done();
    return entry;
}

void check_versions(const Value& value, const std::string& path) {
    Object object(value, path);
    for (const char* name : {"torch", "onnx", "shadowdiffusion"}) object.text(name);
    object.integer("opset", POSITIVE);
    object.done();
}

void check_verification(const Value& value, const std::string& path) {
    Object object(value, path);
    one_of(object, "against", REFERENCES);
    object.text("created");
    object.flag("passed");
    object.array("photos", json::text_of);
    object.object("differences", [](const std::string&, const Value& of, const std::string& at) {
        Object difference(of, at);
        difference.number("max_abs", FROM_ZERO);
        difference.number("relative_l2", FROM_ZERO);
        difference.number("psnr");
        difference.done();
    });
    object.done();
}

void check_note(const Value& value, const std::string& path) {
    Object object(value, path);
    object.text("name");
    object.text("detail");
    one_of(object, "exactness", EXACTNESS);
    if (object.find("psnr")) object.number_or_null("psnr");
    object.done();
}

Manifest manifest_of(const Value& value) {
    Object object(value, "$");
    object.integer("format_version");
    Manifest manifest{.name = object.text("name"), .task = object.text("task"), .created = object.text("created"),
                      .model = model_of(object.at("model"), object.path("model")),
                      .sampling = sampling_of(object.at("sampling"), object.path("sampling")), .files = {}};
    one_of(object, "task", TASKS);
    object.object("files", [&](const std::string& name, const Value& of, const std::string& at) {
        manifest.files[name] = entry_of(of, at);
    });
    check_versions(object.at("versions"), object.path("versions"));
    if (object.find("verification"))
        object.object("verification", [](const std::string&, const Value& of, const std::string& at) { check_verification(of, at); });
    if (object.find("notes")) object.array("notes", check_note);
    if (object.find("kernels")) object.array("kernels", [](const Value&, const std::string&) {});  // for GPUs: not used here
    object.done();
    return manifest;
}

std::int64_t version_of(const Value& value) {
    Object object(value, "$");
    return object.integer("format_version");
}

}  // namespace

std::string_view name_of(MaskPolicy policy) { return MASK_POLICIES[static_cast<std::size_t>(policy)]; }

std::vector<std::int64_t> Sampling::supported_steps() const {
    std::vector<std::int64_t> counts;
    for (const auto& [key, _] : tables) counts.push_back(std::stoll(key));  // the manifest was checked
    std::ranges::sort(counts);
    return counts;
}

Manifest parse_manifest(std::span<const std::byte> raw, std::string_view source) {
    const std::string invalid = text(source, " is not a valid manifest: ");
    try {
        const auto* begin = reinterpret_cast<const char*>(raw.data());
        const Value value = Value::parse(begin, begin + raw.size());
        const std::int64_t version = version_of(value);
        if (version != FORMAT_VERSION)
            throw BundleError(text(source, " has format version ", version, ", this runtime reads version ",
                                   FORMAT_VERSION, ": ",
                                   version > FORMAT_VERSION ? "upgrade shadowdiffusion" : "export the bundle again"));
        Manifest manifest = manifest_of(value);
        if (const auto problem = contradiction(manifest)) throw BundleError(invalid + *problem);
        return manifest;
    } catch (const nlohmann::json::exception& error) {
        throw BundleError(text(invalid, "JSON is malformed: ", error.what()));
    } catch (const Invalid& error) {
        throw BundleError(invalid + error.what());
    }
}

}  // namespace shadowdiffusion
