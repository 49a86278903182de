#include "batch/inputs.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "batch/patterns.h"
#include "photo/formats.h"
#include "photo/path_names.h"

namespace shadowdiffusion {
namespace {

constexpr std::array<std::string_view, 12> VIDEOS{".mp4", ".mov",  ".m4v", ".mkv",  ".webm", ".avi",
                                                  ".mpg", ".mpeg", ".mts", ".m2ts", ".wmv",  ".3gp"};

bool is_folder(const std::string& path) {
    struct stat there{};
    return ::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode);
}

// A link to nothing that is named like a photo counts as one: reading it says what is wrong.
bool is_photo_file(const std::string& path) {
    if (!is_photo(path) || is_earlier_result(path)) return false;
    struct stat there{};
    return ::stat(path.c_str(), &there) != 0 || S_ISREG(there.st_mode);
}

}  // namespace

bool is_photo(std::string_view name) { return format_named(name).has_value(); }

bool is_video(std::string_view name) { return std::ranges::find(VIDEOS, lower_case(suffix_in(name))) != VIDEOS.end(); }

bool is_earlier_result(std::string_view name) {
    const std::string_view stem = stem_in(name);
    return std::ranges::any_of(std::array{RESULT, MASK, ILLUMINATION, COMPARE},
                               [&](std::string_view added) { return stem.ends_with(added); });
}

std::string real_path(const std::string& path) {
    std::error_code failed;
    const auto real = std::filesystem::weakly_canonical(path.empty() ? "." : path, failed);
    return failed ? std::filesystem::absolute(path, failed).string() : real.string();
}

std::optional<Inputs::Identity> Inputs::identity(const std::string& folder) {
    struct stat there{};
    if (::stat(folder.empty() ? "." : folder.c_str(), &there) != 0) return std::nullopt;
    return Identity(there.st_dev, there.st_ino);
}

Inputs::Inputs(std::span<const std::string> arguments, std::span<const std::string> left_out) {
    for (const std::string& folder : left_out)
        if (const auto known = identity(folder)) left_out_.insert(*known);
    for (const std::string& argument : arguments) expand(argument);
}

void Inputs::add(Found photo) {
    if (known_.insert(photo.real).second) found.push_back(std::move(photo));
}

void Inputs::expand(const std::string& argument) {
    struct stat there{};
    if (argument == STDIN) {
        add({argument, "stdin", argument});
    } else if (is_folder(argument)) {
        const std::string none = "holds no photos (" + std::string(SUFFIX_LIST) + ")";
        several(argument, argument, {"**"}, none.c_str());
    } else if (is_pattern(argument) && ::lstat(argument.c_str(), &there) != 0) {
        const auto [folder, parts] = split_pattern(argument);
        several(argument, folder, parts, "matches no photos");
    } else if (const std::size_t end = argument.find_last_not_of('/'); end != std::string::npos) {
        const std::string name(split_name(std::string_view(argument).substr(0, end + 1)).second);
        add({argument, name, real_path(argument)});
    } else {
        problems.push_back({argument, "is no name of a file"});
    }
}

void Inputs::several(const std::string& argument, const std::string& folder, const Parts& pattern, const char* none) {
    const std::size_t before = problems.size();
    if (!walk(folder, pattern) && problems.size() == before) problems.push_back({argument, none});
}

// Add the photos below `root` that match: those of a folder by name, then those of its folders; returns whether there
// are any. Links to folders are followed, but no folder is entered twice, so that links in a circle end.
bool Inputs::walk(const std::string& root, const Parts& pattern) {
    bool any = false;
    std::set<Identity> entered;
    std::vector<std::pair<std::string, Parts>> folders{{root, {}}};
    while (!folders.empty()) {
        const auto [folder, parts] = std::move(folders.back());
        folders.pop_back();
        const auto own = identity(folder);
        if (own && (!entered.insert(*own).second || (!parts.empty() && left_out_.contains(*own)))) continue;
        std::vector<std::pair<std::string, Parts>> below;
        for (const std::string& name : names_in(folder)) {
            const std::string path = joined(folder, name);
            Parts inner = parts;
            inner.push_back(name);
            const Match verdict = match(inner, pattern);
            if (is_folder(path)) {
                if (verdict != Match::no) below.emplace_back(path, std::move(inner));
            } else if (is_photo_file(path) && verdict == Match::yes) {
                std::string shown = inner.front();
                for (const std::string& part : std::span(inner).subspan(1)) shown += "/" + part;
                add({path, shown, real_path(path)});
                any = true;
            }
        }
        std::move(below.rbegin(), below.rend(), std::back_inserter(folders));
    }
    return any;
}

// What a folder holds and does not hide, by name.
Inputs::Parts Inputs::names_in(const std::string& folder) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(folder.empty() ? "." : folder.c_str()), &::closedir);
    if (!entries) {
        problems.push_back({folder, std::string("cannot be read: ") + std::strerror(errno)});
        return {};
    }
    Parts names;
    while (const dirent* entry = ::readdir(entries.get()))
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    std::ranges::sort(names);
    return names;
}

}  // namespace shadowdiffusion
