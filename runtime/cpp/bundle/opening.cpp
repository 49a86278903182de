#include "bundle/opening.h"

#include <dlfcn.h>

#include <algorithm>

#include "bundle/archive.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view DEFAULT_TASK = "shadow";

// Where an installation keeps its bundles: share/shadowdiffusion/bundles beside the folder of this code's file, be that
// bin/ or any lib/.
fs::path bundles() {
    Dl_info about;
    if (dladdr(reinterpret_cast<const void*>(&built_in), &about) == 0 || about.dli_fname == nullptr) return {};
    std::error_code unknown;
    fs::path at = fs::canonical(about.dli_fname, unknown);
    while (!unknown && at.has_parent_path() && at != at.root_path()) {
        at = at.parent_path();
        if (fs::path found = at / "share" / "shadowdiffusion" / "bundles"; fs::is_directory(found)) return found;
    }
    return {};
}

}  // namespace

Bundle load_bundle(const std::optional<fs::path>& path) {
    const fs::path root = path ? *path : built_in(DEFAULT_TASK);
    std::error_code unknown;
    if (fs::is_regular_file(root, unknown)) return load_archive(root);
    if (!fs::is_directory(root, unknown))
        throw BundleError(text("bundle ", root.string(), " does not exist: name a folder that holds a ", MANIFEST,
                               ", or a zip file of one"));
    return load_folder(root);
}

fs::path built_in(std::string_view task) {
    const fs::path folder = bundles();
    std::error_code unknown;
    if (fs::is_regular_file(folder / task / MANIFEST, unknown)) return folder / task;
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder, unknown))
        if (fs::is_regular_file(entry.path() / MANIFEST, unknown)) names.push_back(entry.path().filename().string());
    std::ranges::sort(names);
    std::string have;
    for (const std::string& name : names) have += (have.empty() ? "" : ", ") + name;
    throw BundleError(text("there is no built-in bundle for ", task, " (there is: ", have.empty() ? "none" : have,
                           "): name your own with --bundle BUNDLE"));
}

}  // namespace shadowdiffusion
