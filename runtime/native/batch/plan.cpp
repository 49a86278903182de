#include "batch/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <stdexcept>

#include "errors.h"
#include "photo/path_names.h"

namespace shadowdiffusion {
namespace {

// Why one photo cannot be written anywhere.
struct Unplaced : std::runtime_error {
    using std::runtime_error::runtime_error;
};

bool is_folder(const std::string& path) {
    struct stat there{};
    return ::stat(path.c_str(), &there) == 0 && S_ISDIR(there.st_mode);
}

bool exists(const std::string& path) {
    struct stat there{};
    return ::stat(path.c_str(), &there) == 0;
}

// Whether an option names a file, which need not exist: by an extension, unless a folder has that name.
bool is_file(const std::string& path) {
    return path == STDOUT || (is_photo(path) && !path.ends_with('/') && !is_folder(path));
}

void check_option(const std::string& option, const std::optional<std::string>& path, std::size_t count) {
    if (!path) return;
    if (*path == STDOUT && option != "--output")
        throw RestoreError(option + " cannot go to stdout: name a file or a folder");
    if (is_file(*path) && count > 1)
        throw RestoreError(option + " " + *path + " is one file for " + std::to_string(count) +
                           " photos: name a folder");
    if (!is_file(*path) && exists(*path) && !is_folder(*path))
        throw RestoreError(option + " " + *path + " is a file whose name tells no format: " + std::string(SUFFIX_LIST));
}

std::string result_of(const Found& photo, const WantedFiles& wanted) {
    if (wanted.photo == STDOUT || (!wanted.photo && photo.path == STDIN)) return std::string(STDOUT);
    if (wanted.photo && is_file(*wanted.photo)) return *wanted.photo;
    const std::string stem(stem_in(photo.inner));
    std::string suffix(suffix_in(photo.inner));
    const std::optional<Format> named = format_named(photo.inner);
    if (wanted.format && named != wanted.format)
        suffix = suffix_of(*wanted.format);
    else if (!named)
        throw Unplaced("its name ends in none of " + std::string(SUFFIX_LIST) + ": say with --format what to write");
    if (wanted.photo) return joined(*wanted.photo, stem + suffix);
    const std::string name(split_name(stem).second);
    return joined(split_name(photo.path).first, name + std::string(RESULT) + suffix);
}

std::string extra_of(const Found& photo, const std::string& where, std::string_view added) {
    if (is_file(where)) return where;
    return joined(where, std::string(stem_in(photo.inner)) + std::string(added) + ".png");
}

std::vector<std::pair<Kind, std::string>> targets_of(const Found& photo, const WantedFiles& wanted) {
    if (is_video(photo.path)) throw Unplaced("videos are restored by the Python program shadowdiffusion only");
    std::vector<std::pair<Kind, std::string>> targets{{Kind::photo, result_of(photo, wanted)}};
    if (wanted.compare) {
        const std::string& target = targets.front().second;
        if (target == STDOUT)
            throw Unplaced("its picture for comparison has no place beside stdout: name the result with -o");
        std::string stem(stem_in(target));
        if (stem.ends_with(RESULT)) stem.resize(stem.size() - RESULT.size());
        targets.emplace_back(Kind::compare, stem + std::string(COMPARE) + ".jpg");
    }
    if (wanted.mask) targets.emplace_back(Kind::mask, extra_of(photo, *wanted.mask, MASK));
    if (wanted.illumination)
        targets.emplace_back(Kind::illumination, extra_of(photo, *wanted.illumination, ILLUMINATION));
    return targets;
}

// The same for every path that leads to a place; a link counts as itself: it would be replaced, not followed.
std::string place(const std::string& path) {
    const auto [folder, name] = split_name(path);
    return joined(real_path(std::string(folder)), name);
}

// A conflict is the later job's, and only where it could cost a file: a photo that an earlier run made of another one
// may be written again, so it gives way.
Plan without_conflicts(std::vector<Job> jobs, std::span<const Found> found, std::vector<Problem> problems) {
    std::set<std::string> places;
    for (const Job& job : jobs)
        for (const auto& [kind, target] : job.targets) places.insert(place(target));
    std::map<std::string, std::string> real_of, owners;
    for (const Found& photo : found) real_of[photo.path] = photo.real;
    std::set<std::string> results;
    for (const Job& job : jobs)
        if (is_earlier_result(job.inner) && places.contains(real_of[job.source])) results.insert(job.source);
    for (const auto& [path, real] : real_of)
        if (!results.contains(path)) owners[real] = path;
    std::map<std::string, std::string> taken;
    Plan kept{{}, std::move(problems)};
    for (Job& job : jobs) {
        if (results.contains(job.source)) continue;
        std::map<std::string, std::string> mine;
        std::string problem;
        for (const auto& [kind, target] : job.targets) {
            const std::string own = place(target);
            const auto owner = owners.find(own);
            if (problem.empty() && taken.contains(own))
                problem = "would be written to " + target + ", as is the result of " + taken[own] +
                          ": name different folders";
            else if (problem.empty() && owner != owners.end() && owner->second != job.source)
                problem = "would be written to " + target + ", which is to be restored itself";
            if (!mine.emplace(own, target).second && problem.empty()) problem = "two of its results have the same name";
        }
        if (!problem.empty()) {
            kept.problems.push_back({job.source, problem});
            continue;
        }
        for (const auto& [own, target] : mine) taken[own] = job.source;
        kept.jobs.push_back(std::move(job));
    }
    return kept;
}

}  // namespace

std::string_view name_of(Kind kind) {
    constexpr std::array<std::string_view, 4> names{"photo", "compare", "mask", "illumination"};
    return names[static_cast<std::size_t>(kind)];
}

std::vector<std::string> WantedFiles::folders() const {
    std::vector<std::string> named;
    for (const auto& path : {photo, mask, illumination})
        if (path && !path->empty() && !is_file(*path)) named.push_back(*path);
    return named;
}

Plan plan(std::span<const Found> found, const WantedFiles& wanted) {
    check_option("--output", wanted.photo, found.size());
    check_option("--save-mask", wanted.mask, found.size());
    check_option("--save-illumination", wanted.illumination, found.size());
    if (wanted.photo && *wanted.photo != STDOUT && is_file(*wanted.photo)) format_of(*wanted.photo, wanted.format);
    std::vector<Job> jobs;
    std::vector<Problem> problems;
    for (const Found& photo : found) {
        try {
            jobs.push_back({photo.path, photo.inner, targets_of(photo, wanted)});
        } catch (const Unplaced& reason) {
            problems.push_back({photo.path, reason.what()});
        }
    }
    return without_conflicts(std::move(jobs), found, std::move(problems));
}

}  // namespace shadowdiffusion
