#include "batch/patterns.h"

#include <fnmatch.h>

namespace shadowdiffusion {

bool is_pattern(std::string_view argument) { return argument.find_first_of("*?[") != std::string_view::npos; }

std::pair<std::string, std::vector<std::string>> split_pattern(std::string_view pattern) {
    const std::size_t wild = pattern.find_first_of("*?[");
    const std::size_t slash = pattern.substr(0, wild).rfind('/');
    const std::size_t start = slash == std::string_view::npos ? 0 : slash + 1;
    std::string base(pattern.substr(0, slash == std::string_view::npos ? 0 : slash));
    if (start > 0 && base.empty()) base.push_back('/');
    std::vector<std::string> parts;
    for (std::string_view rest = pattern.substr(start); !rest.empty();) {
        const std::size_t end = std::min(rest.find('/'), rest.size());
        if (end > 0) parts.emplace_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return {base, parts};
}

Match match(std::span<const std::string> path, std::span<const std::string> pattern) {
    if (pattern.empty()) return Match::yes;
    if (path.empty()) return Match::below;
    if (pattern.front() == "**") {
        for (std::size_t skipped = 0; skipped <= path.size(); ++skipped)
            if (match(path.subspan(skipped), pattern.subspan(1)) == Match::yes) return Match::yes;
        return Match::below;
    }
    const bool same = ::fnmatch(pattern.front().c_str(), path.front().c_str(), FNM_NOESCAPE) == 0;
    return same ? match(path.subspan(1), pattern.subspan(1)) : Match::no;
}

}  // namespace shadowdiffusion
