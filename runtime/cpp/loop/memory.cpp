#include "loop/memory.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;

// The first version of control groups writes a number about as large for no limit.
constexpr std::int64_t UNLIMITED = std::int64_t{1} << 60;

// The files of a memory control group, of either version.
struct Names {
    const char *most, *used, *reclaimable;
};
constexpr Names FIRST{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};
constexpr Names SECOND{"memory.max", "memory.current", "inactive_file"};

std::optional<std::int64_t> number_in(const fs::path& path) {
    std::ifstream file(path);
    std::int64_t value = 0;
    if (file >> value) return value;
    return std::nullopt;  // "max": no limit
}

// The number behind a word that begins a line.
std::optional<std::int64_t> number_behind(const fs::path& path, std::string_view word) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string name;
        std::int64_t value = 0;
        if (words >> name && name == word && words >> value) return value;
    }
    return std::nullopt;
}

bool lists_memory(const std::string& controllers) {
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');)
        if (name == "memory") return true;
    return false;
}

// What is left of the limit of every group from `folder` up to `root`.
std::int64_t least_left(const fs::path& root, fs::path folder, const Names& names, std::int64_t least) {
    // inside a container, the path is often that of the host, and only the root can be seen
    for (;; folder = folder.parent_path()) {
        const auto limit = number_in(folder / names.most), used = number_in(folder / names.used);
        // cached files are dropped by the kernel when memory is needed
        if (limit && used && *limit < UNLIMITED)
            least = std::min(least, *limit - *used + number_behind(folder / "memory.stat", names.reclaimable).value_or(0));
        if (folder == root || folder == folder.parent_path()) return least;
    }
}

std::int64_t least_left_in_groups(const fs::path& proc, const fs::path& cgroups, std::int64_t least) {
    std::ifstream groups(proc / "self" / "cgroup");
    for (std::string line; std::getline(groups, line);) {  // number:controllers:path
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const bool is_second = second == first + 1;
        if (!is_second && !lists_memory(line.substr(first + 1, second - first - 1))) continue;
        const fs::path root = is_second ? cgroups : cgroups / "memory";
        const std::string path = line.substr(std::min(line.size(), line.find_first_not_of('/', second + 1)));
        least = least_left(root, path.empty() ? root : root / path, is_second ? SECOND : FIRST, least);
    }
    return least;
}

}  // namespace

std::optional<std::int64_t> available_memory(const fs::path& proc, const fs::path& cgroups) {
    const auto kibibytes = number_behind(proc / "meminfo", "MemAvailable:");
    if (!kibibytes) return std::nullopt;
    return std::max<std::int64_t>(0, least_left_in_groups(proc, cgroups, *kibibytes * 1024));
}

std::int64_t own_memory(const fs::path& proc) {
    std::ifstream file(proc / "self" / "statm");
    std::int64_t whole = 0, resident = 0;
    return file >> whole >> resident ? resident * ::sysconf(_SC_PAGESIZE) : 0;
}

}  // namespace shadowdiffusion
