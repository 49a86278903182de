// How many programs a kernel is launched with: a rule such as `ceil(plane / 512)`, from the bundle, is computed. Twin of
// runtime/gpu/grid_rule.py:
//
//     rule    = factor (("*" | "/") factor)*
//     factor  = number | name | "ceil(" rule ")"
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace shadowdiffusion {

// The value of a rule, at least 1. `value` gives that of a name, or nothing. Throws BundleError for a rule that is
// malformed or no such number here.
unsigned programs(const std::string& rule, const std::function<std::optional<std::int64_t>(std::string_view)>& value);

}  // namespace shadowdiffusion
