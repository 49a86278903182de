#include "batch/outcome.h"

#include <array>
#include <cmath>

namespace shadowdiffusion {
namespace {

double rounded(double seconds) { return std::round(seconds * 1e4) / 1e4; }

template <class Value>
Record or_null(const std::optional<Value>& value) {
    return value ? Record(*value) : Record(nullptr);
}

}  // namespace

std::string Outcome::record() const {
    constexpr std::array<const char*, 5> statuses{"restored", "skipped", "failed", "dropped", "busy"};
    Record json;
    json["input"] = input;
    json["output"] = or_null(output);
    json["status"] = statuses[static_cast<std::size_t>(status)];
    json["error"] = or_null(error);
    json["seconds"] = rounded(seconds);
    json["timings"] = Record::object();
    for (const auto& [part, time] : timings) json["timings"][part] = rounded(time);
    json["width"] = or_null(width);
    json["height"] = or_null(height);
    json["tile"] = or_null(tile);
    json["mask"] = or_null(mask);
    json["extras"] = Record::object();
    for (const auto& [kind, path] : extras) json["extras"][kind] = path;
    json["settings"] = settings;
    return json.dump(-1, ' ', true, Record::error_handler_t::replace);  // names need not be UTF-8
}

}  // namespace shadowdiffusion
