// SHA-256 of files.
#pragma once

#include <filesystem>

#include "bundle/manifest.h"

namespace shadowdiffusion {

// Size and SHA-256 of a file, read in blocks. Throws std::system_error.
FileEntry hash_file(const std::filesystem::path& path);

}  // namespace shadowdiffusion
