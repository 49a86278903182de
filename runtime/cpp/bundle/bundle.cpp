#include "bundle/bundle.h"

#include <algorithm>
#include <system_error>

#include "bundle/digest.h"
#include "errors.h"
#include "files.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;

// Every file and link under `root` but the manifest and the engines, which may come and go at any time.
std::vector<std::string> names_under(const fs::path& root) {
    std::vector<std::string> names;
    for (auto at = fs::recursive_directory_iterator(root); at != fs::recursive_directory_iterator(); ++at) {
        const bool folder = at->is_directory() && !at->is_symlink();
        std::string name = at->path().lexically_relative(root).generic_string();
        if (folder && name == ENGINES) at.disable_recursion_pending();
        if (folder || name == MANIFEST || name.starts_with(text(".", MANIFEST, "."))) continue;
        names.push_back(std::move(name));
    }
    std::ranges::sort(names);
    return names;
}

void verify_files(const fs::path& root, const std::map<std::string, FileEntry>& files) {
    for (const std::string& name : names_under(root))
        if (!files.contains(name))
            throw BundleError(text("bundle ", root.string(), " holds ", name, ", which its manifest does not list: remove it"));
    for (const auto& [name, expected] : files)
        if (const auto problem = damage(root, name, expected))
            throw BundleError(text(name, " of bundle ", root.string(), " ", *problem, ": copy or export the bundle again"));
}

}  // namespace

const std::vector<Step>& Bundle::table(std::optional<std::int64_t> steps) const {
    const Sampling& sampling = manifest.sampling;
    const std::string key = std::to_string(steps.value_or(sampling.default_steps));
    const auto found = sampling.tables.find(key);
    if (found != sampling.tables.end()) return found->second;
    std::string supported;
    for (const std::int64_t count : sampling.supported_steps())
        supported += (supported.empty() ? "" : ", ") + std::to_string(count);
    throw RestoreError(text("this bundle has no schedule for ", key, " steps: choose one of ", supported));
}

Bundle load_folder(const fs::path& root) {
    const fs::path path = root / MANIFEST;
    std::vector<std::byte> raw;
    try {
        raw = read_file(path);
    } catch (const std::system_error& error) {
        if (error.code() == std::errc::no_such_file_or_directory)
            throw BundleError(text(root.string(), " is not a bundle: it has no ", MANIFEST));
        throw BundleError(text("cannot read ", path.string(), ": ", error.code().message()));
    }
    Bundle bundle{root, parse_manifest(raw, path.string())};
    try {
        verify_files(root, bundle.manifest.files);
    } catch (const fs::filesystem_error& error) {
        throw BundleError(text("cannot read bundle ", root.string(), ": ", error.code().message()));
    }
    return bundle;
}

std::optional<std::string> damage(const fs::path& root, const std::string& name, const FileEntry& expected) {
    FileEntry actual;
    try {
        actual = hash_file(root / name);
    } catch (const std::system_error& error) {
        if (error.code() == std::errc::no_such_file_or_directory) return "is missing";
        return text("cannot be read (", error.code().message(), ")");
    }
    if (actual.size != expected.size)
        return text("is damaged (", actual.size, " bytes instead of ", expected.size, ")");
    if (actual.sha256 != expected.sha256)
        return text("is damaged (SHA-256 ", actual.sha256.substr(0, 12), "… instead of ",
                    expected.sha256.substr(0, 12), "…)");
    return {};
}

}  // namespace shadowdiffusion
