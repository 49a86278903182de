#include "batch/masks.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "batch/standing.h"
#include "errors.h"
#include "photo/path_names.h"

namespace shadowdiffusion {
namespace {

// The image files of a folder that have this name before their extension, in order.
std::vector<std::string> images_named(std::string_view stem, const std::string& folder) {
    std::vector<std::string> names;
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(folder, failed), end; !failed && entry != end;
         entry.increment(failed)) {
        const std::string name = entry->path().filename().string();
        if (is_photo(name) && stem_in(name) == stem) names.push_back(name);
    }
    if (failed && failed != std::errc::no_such_file_or_directory)
        throw PhotoError("cannot read folder " + folder + ": " + failed.message());
    std::ranges::sort(names);
    return names;
}

}  // namespace

Masks::Masks(std::string where, std::size_t photos) : where_(std::move(where)) {
    struct stat there{};
    if (::stat(where_.c_str(), &there) != 0) throw RestoreError("mask " + where_ + " does not exist");
    is_folder_ = S_ISDIR(there.st_mode);
    if (!is_folder_ && photos > 1)
        throw RestoreError("--mask " + where_ + " is one file for " + std::to_string(photos) +
                           " photos: give a folder of masks");
}

std::string Masks::of(const Job& job) const {
    if (!is_folder_) return where_;
    const auto [below, name] = split_name(stem_in(job.inner));
    const std::string folder = below.empty() ? where_ : joined(where_, below);
    for (const std::string& stem : {std::string(name), std::string(name) + std::string(MASK)}) {
        std::vector<std::string> masks = images_named(stem, folder);
        std::erase_if(masks, [&](const std::string& mask) { return same_file(joined(folder, mask), job.source); });
        if (masks.size() == 1) return joined(folder, masks.front());
        if (masks.empty()) continue;
        std::string both = masks.front();
        for (std::size_t i = 1; i < masks.size(); ++i) both += " and " + masks[i];
        throw PhotoError("folder " + folder + " has " + both + " for " + job.source + ": exactly one is needed");
    }
    throw PhotoError("folder " + folder + " has no mask for " + job.source + ": exactly one is needed");
}

}  // namespace shadowdiffusion
