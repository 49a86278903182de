// What in a well-typed manifest cannot be right.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "bundle/manifest.h"

namespace shadowdiffusion {

// As a phrase, or nothing.
std::optional<std::string> contradiction(const Manifest& manifest);

// Whether a file name from a manifest stays inside its bundle on every operating system.
bool is_safe(std::string_view name);

}  // namespace shadowdiffusion
