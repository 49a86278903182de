#include "loading.h"

#include "bundle/opening.h"
#include "cache.h"
#include "loop/loop.h"

namespace shadowdiffusion {

std::unique_ptr<Restorer> load(const std::optional<std::filesystem::path>& bundle, const LoadOptions& options) {
    check_backend(options.backend);  // complain before any work
    if (!cache_folder("")) options.say(std::string(NO_CACHE));
    const auto open = [&](const Bundle& opened, Workers& workers) { return choose(opened, options, workers); };
    return std::make_unique<Restorer>(load_bundle(bundle), open, options.threads);
}

}  // namespace shadowdiffusion
