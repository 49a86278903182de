// Which photos a command line means: files, folders, patterns, and `-` for stdin, in any mix and in a fixed order. Twin
// of runtime/batch/inputs.py.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shadowdiffusion {

inline constexpr std::string_view STDIN = "-";
// Put between the name of a photo and the extension of what is written beside it.
inline constexpr std::string_view RESULT = ".restored", MASK = ".mask", ILLUMINATION = ".illumination",
                                  COMPARE = ".compare";

// One photo to restore.
struct Found {
    // As it is opened and shown; "-" is stdin.
    std::string path;
    // Where it lies below the folder or pattern that was named, otherwise only its name.
    std::string inner;
    // The same for every path that leads to this file.
    std::string real;
};

// Something on the command line that cannot be restored, and why.
struct Problem {
    std::string name;
    std::string message;
};

// What `arguments` mean. Files in folders count if they are named like photos; hidden ones, what was written earlier
// and the folders `left_out` do not. A file that is reached twice counts once.
class Inputs {
  public:
    Inputs(std::span<const std::string> arguments, std::span<const std::string> left_out);

    std::vector<Found> found;
    std::vector<Problem> problems;

  private:
    using Identity = std::pair<std::uint64_t, std::uint64_t>;
    using Parts = std::vector<std::string>;

    void expand(const std::string& argument);
    void several(const std::string& argument, const std::string& folder, const Parts& pattern, const char* none);
    bool walk(const std::string& root, const Parts& pattern);
    Parts names_in(const std::string& folder);
    void add(Found photo);
    static std::optional<Identity> identity(const std::string& folder);

    std::set<Identity> left_out_;
    std::set<std::string> known_;
};

// Whether a file is named like a photo.
bool is_photo(std::string_view name);

// Whether a file is taken for a video, by its name.
bool is_video(std::string_view name);

// Whether a file is named like something that was written beside a photo.
bool is_earlier_result(std::string_view name);

// `path` with all links followed, as far as it leads anywhere.
std::string real_path(const std::string& path);

}  // namespace shadowdiffusion
