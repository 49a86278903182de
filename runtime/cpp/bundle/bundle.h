// A verified bundle: a folder, or the folder that a zip file was unpacked into (bundle/archive.h).
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "bundle/manifest.h"

namespace shadowdiffusion {

struct Bundle {
    std::filesystem::path path;
    Manifest manifest;

    bool has(std::string_view name) const { return manifest.files.contains(std::string(name)); }
    bool has_prior() const { return has(PRIOR); }

    // The schedule for a step count, none for the default. Throws RestoreError if the bundle has none.
    const std::vector<Step>& table(std::optional<std::int64_t> steps = {}) const;
};

// Open and verify the bundle in the folder `root`. Throws BundleError when it is missing, of another format version,
// malformed, or when any file but those under engines/ is missing, unlisted or not as recorded.
Bundle load_folder(const std::filesystem::path& root);

// What is wrong with the file `name` of the bundle folder `root`, as a phrase, or nothing if it is as recorded.
std::optional<std::string> damage(const std::filesystem::path& root, const std::string& name,
                                  const FileEntry& expected);

}  // namespace shadowdiffusion
