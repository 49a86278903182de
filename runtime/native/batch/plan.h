// Where the results of each photo go, and that no two of them, nor any photo, end up in one place. Twin of
// runtime/batch/plan.py.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "batch/inputs.h"
#include "photo/formats.h"

namespace shadowdiffusion {

inline constexpr std::string_view STDOUT = "-";

enum class Kind { photo, compare, mask, illumination };

std::string_view name_of(Kind kind);

// What to write, as the command line says: a file for a single photo, a folder for any number; none: nothing, except
// for the photo itself, which then goes beside its original.
struct WantedFiles {
    std::optional<std::string> photo, mask, illumination;
    bool compare = false;
    // Of the photo; none: the original's.
    std::optional<Format> format;

    // The folders among them.
    std::vector<std::string> folders() const;
};

// One photo to restore.
struct Job {
    std::string source;
    std::string inner;
    // Where to write what, the photo first, for which "-" is stdout.
    std::vector<std::pair<Kind, std::string>> targets;

    const std::string& photo_target() const { return targets.front().second; }
    bool into_stdout() const { return photo_target() == STDOUT; }
};

struct Plan {
    std::vector<Job> jobs;
    std::vector<Problem> problems;
};

// A job for every photo, but for those that cannot be written anywhere, with the reason.
//
// A photo that is what an earlier run made of another one is left out. Throws RestoreError for places that cannot be
// meant.
Plan plan(std::span<const Found> found, const WantedFiles& wanted);

}  // namespace shadowdiffusion
