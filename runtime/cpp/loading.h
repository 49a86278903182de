// From the name of a bundle to the Restorer that runs it on this machine.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "backends/selection.h"
#include "restorer.h"

namespace shadowdiffusion {

// Open a bundle folder or zip file (none: the built-in one). Throws RestoreError for a missing or damaged bundle, or an
// unavailable backend.
std::unique_ptr<Restorer> load(const std::optional<std::filesystem::path>& bundle = {}, const LoadOptions& options = {});

}  // namespace shadowdiffusion
