#include "batch/outcome.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

namespace shadowdiffusion {
namespace {

using Json = nlohmann::ordered_json;

double rounded(double seconds) { return std::round(seconds * 1e4) / 1e4; }

template <class Value>
Json or_null(const std::optional<Value>& value) {
    return value ? Json(*value) : Json(nullptr);
}

Json json_of(const std::optional<std::pair<Settings, Format>>& known) {
    Json json = Json::object();
    if (!known) return json;
    const auto& [settings, form] = *known;
    json["steps"] = settings.steps;
    json["seed"] = settings.seed;
    json["strength"] = settings.strength;
    json["working_size"] = settings.working_size ? Json(*settings.working_size) : Json("native");
    if (is_lossy(form)) json["quality"] = or_null(settings.quality);
    return json;
}

}  // namespace

std::string Outcome::record() const {
    constexpr std::array<const char*, 3> statuses{"restored", "failed", "dropped"};
    Json json;
    json["input"] = input;
    json["output"] = or_null(output);
    json["status"] = statuses[static_cast<std::size_t>(status)];
    json["error"] = or_null(error);
    json["seconds"] = rounded(seconds);
    json["timings"] = Json::object();
    for (const auto& [part, time] : timings) json["timings"][part] = rounded(time);
    json["width"] = or_null(width);
    json["height"] = or_null(height);
    json["tile"] = or_null(tile);
    json["mask"] = or_null(mask);
    json["extras"] = Json::object();
    for (const auto& [kind, path] : extras) json["extras"][kind] = path;
    json["settings"] = json_of(settings);
    return json.dump(-1, ' ', true, Json::error_handler_t::replace);  // names need not be UTF-8
}

}  // namespace shadowdiffusion
