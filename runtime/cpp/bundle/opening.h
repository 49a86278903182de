// Open a bundle wherever it is: a built-in one, a folder, or a zip file.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "bundle/bundle.h"

namespace shadowdiffusion {

// Open and verify a bundle; none: the built-in one for shadows. Throws BundleError.
Bundle load_bundle(const std::optional<std::filesystem::path>& path = {});

// The bundle for a task ("shadow", "low-light", "exposure") that comes with this installation. Throws BundleError if
// there is none.
std::filesystem::path built_in(std::string_view task);

}  // namespace shadowdiffusion
