// Strict decoding of JSON into structs: wrong types, missing and unknown fields are refused with the path to them.
#pragma once

#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace shadowdiffusion::json {

using Value = nlohmann::json;

// What was wrong, and where, in one line whatever names there are: "Expected `int`, got `str` - at `$.model.multiple`".
struct Invalid : std::runtime_error {
    Invalid(const std::string& what, const std::string& path);
};

// Bounds of a number; ends may be excluded.
struct Range {
    double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
    bool above = false, below = false;  // the end itself is excluded
};

std::string type_of(const Value& value);

// Scalars, checked. `path` names the place.
std::string text_of(const Value& value, const std::string& path);
bool bool_of(const Value& value, const std::string& path);
std::int64_t int_of(const Value& value, const std::string& path, const Range& range = {});
double number_of(const Value& value, const std::string& path, const Range& range = {});

// The fields of one object, each read at most once; `done` refuses those that were not read.
class Object {
  public:
    Object(const Value& value, std::string path);

    const Value& at(std::string_view name);         // throws where the field is missing
    const Value* find(std::string_view name);       // null where it is missing
    std::string path(std::string_view name) const { return path_ + "." + std::string(name); }

    std::string text(std::string_view name) { return text_of(at(name), path(name)); }
    bool flag(std::string_view name) { return bool_of(at(name), path(name)); }
    std::int64_t integer(std::string_view name, const Range& range = {}) { return int_of(at(name), path(name), range); }
    double number(std::string_view name, const Range& range = {}) { return number_of(at(name), path(name), range); }

    // Null is nothing.
    std::optional<std::int64_t> integer_or_null(std::string_view name, const Range& range = {});
    std::optional<double> number_or_null(std::string_view name, const Range& range = {});

    // Calls each(element, path of it) for all of an array.
    template <class Each>
    void array(std::string_view name, const Each& each) {
        const Value& list = at(name);
        if (!list.is_array()) throw Invalid("Expected `array`, got `" + type_of(list) + "`", path(name));
        for (std::size_t i = 0; i < list.size(); ++i) each(list[i], path(name) + "[...]");
    }

    // Calls each(key, value, path of it) for all of an object.
    template <class Each>
    void object(std::string_view name, const Each& each) {
        const Value& map = at(name);
        if (!map.is_object()) throw Invalid("Expected `object`, got `" + type_of(map) + "`", path(name));
        for (const auto& [key, value] : map.items()) each(key, value, path(name) + "[...]");
    }

    void done() const;

  private:
    const Value& value_;
    std::string path_;
    std::set<std::string, std::less<>> read_;
};

}  // namespace shadowdiffusion::json
