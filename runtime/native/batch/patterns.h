// Patterns of paths: `*`, `?` and `[...]` stand for parts of a name, `**` for any number of folders. Twin of
// runtime/batch/patterns.py.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shadowdiffusion {

enum class Match { yes, no, below };

// Whether a path that is not there may be meant as a pattern.
bool is_pattern(std::string_view argument);

// The folder that a pattern starts from ("" for the current one), and its parts below that.
std::pair<std::string, std::vector<std::string>> split_pattern(std::string_view pattern);

// Whether a path below the pattern's folder matches: "yes", also for what is inside of a folder that does; "below" for
// a folder that does not, but may hold something that does.
Match match(std::span<const std::string> path, std::span<const std::string> pattern);

}  // namespace shadowdiffusion
