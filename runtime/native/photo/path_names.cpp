#include "photo/path_names.h"

#include <algorithm>

namespace shadowdiffusion {

std::pair<std::string_view, std::string_view> split_name(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return {"", path};
    std::string_view folder = path.substr(0, slash + 1);
    const std::size_t last = folder.find_last_not_of('/');
    if (last != std::string_view::npos) folder = folder.substr(0, last + 1);
    return {folder, path.substr(slash + 1)};
}

std::string_view suffix_in(std::string_view path) {
    const std::string_view name = split_name(path).second;
    const std::size_t first = name.find_first_not_of('.');
    const std::size_t dot = name.rfind('.');
    return first == std::string_view::npos || dot == std::string_view::npos || dot < first ? "" : name.substr(dot);
}

std::string_view stem_in(std::string_view path) { return path.substr(0, path.size() - suffix_in(path).size()); }

std::string joined(std::string_view folder, std::string_view below) {
    if (folder.empty() || below.starts_with('/')) return std::string(below);
    return std::string(folder) + (folder.ends_with('/') ? "" : "/") + std::string(below);
}

std::string lower_case(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
    return lower;
}

}  // namespace shadowdiffusion
