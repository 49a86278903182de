#include "bundle/json.h"

#include <algorithm>

#include "text.h"

namespace shadowdiffusion::json {

namespace {

// Control characters as question marks.
std::string one_line(std::string line) {
    std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return line;
}

[[noreturn]] void expected(std::string_view type, const Value& value, const std::string& path) {
    throw Invalid(shadowdiffusion::text("Expected `", type, "`, got `", type_of(value), "`"), path);
}

void check(double number, std::string_view type, const std::string& path, const Range& range) {
    const auto refuse = [&](const char* sign, double bound) {
        throw Invalid(shadowdiffusion::text("Expected `", type, "` ", sign, " ", bound), path);
    };
    if (range.above ? !(number > range.least) : !(number >= range.least)) refuse(range.above ? ">" : ">=", range.least);
    if (range.below ? !(number < range.most) : !(number <= range.most)) refuse(range.below ? "<" : "<=", range.most);
}

}  // namespace

Invalid::Invalid(const std::string& what, const std::string& path)
    : std::runtime_error(one_line(path == "$" ? what : what + " - at `" + path + "`")) {}

std::string type_of(const Value& value) {
    if (value.is_null()) return "null";
    if (value.is_boolean()) return "bool";
    if (value.is_number_float()) return "float";
    if (value.is_number()) return "int";
    if (value.is_string()) return "str";
    return value.is_array() ? "array" : "object";
}

std::string text_of(const Value& value, const std::string& path) {
    if (!value.is_string()) expected("str", value, path);
    return value.get<std::string>();
}

bool bool_of(const Value& value, const std::string& path) {
    if (!value.is_boolean()) expected("bool", value, path);
    return value.get<bool>();
}

std::int64_t int_of(const Value& value, const std::string& path, const Range& range) {
    std::int64_t number = 0;
    if (value.is_number_unsigned()) {
        const auto wide = value.get<std::uint64_t>();
        if (wide > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            throw Invalid("Integer value out of range", path);
        number = static_cast<std::int64_t>(wide);
    } else if (value.is_number_integer()) {
        number = value.get<std::int64_t>();
    } else if (value.is_number_float()) {  // 16.0 is an integer too, as far as doubles count without gaps
        const double real = value.get<double>();
        if (real != std::floor(real) || std::abs(real) > 0x1p53) expected("int", value, path);
        number = static_cast<std::int64_t>(real);
    } else {
        expected("int", value, path);
    }
    check(static_cast<double>(number), "int", path, range);
    return number;
}

double number_of(const Value& value, const std::string& path, const Range& range) {
    if (!value.is_number()) expected("float", value, path);
    const auto number = value.get<double>();
    check(number, "float", path, range);
    return number;
}

Object::Object(const Value& value, std::string path) : value_(value), path_(std::move(path)) {
    if (!value.is_object()) expected("object", value, path_);
}

const Value& Object::at(std::string_view name) {
    const Value* found = find(name);
    if (!found) throw Invalid(shadowdiffusion::text("Object missing required field `", name, "`"), path_);
    return *found;
}

const Value* Object::find(std::string_view name) {
    read_.emplace(name);
    const auto at = value_.find(name);
    return at == value_.end() ? nullptr : &*at;
}

std::optional<std::int64_t> Object::integer_or_null(std::string_view name, const Range& range) {
    if (at(name).is_null()) return {};
    return integer(name, range);
}

std::optional<double> Object::number_or_null(std::string_view name, const Range& range) {
    if (at(name).is_null()) return {};
    return number(name, range);
}

void Object::done() const {
    for (const auto& [key, _] : value_.items())
        if (!read_.contains(key)) throw Invalid("Object contains unknown field `" + key + "`", path_);
}

}  // namespace shadowdiffusion::json
