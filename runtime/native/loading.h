// From the name of a bundle to the Restorer that runs it on this machine.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "restorer.h"

namespace shadowdiffusion {

struct LoadOptions {
    std::string backend = "auto";  // "auto" or one of backends()
    unsigned threads = 0;          // CPU threads; 0: one per core
};

// Open a bundle folder or zip file (none: the built-in one). Throws RestoreError for a missing or damaged bundle, or an
// unavailable backend.
std::unique_ptr<Restorer> load(const std::optional<std::filesystem::path>& bundle = {}, const LoadOptions& options = {});

// Names of the backends that this library was built with.
std::vector<std::string> backends();

}  // namespace shadowdiffusion
