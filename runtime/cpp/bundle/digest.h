// SHA-256 of files and texts.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "bundle/manifest.h"

namespace shadowdiffusion {

// Size and SHA-256 of a file, read in blocks. Throws std::system_error.
FileEntry hash_file(const std::filesystem::path& path);

// Lower-case hexadecimal digits.
std::string sha256(std::string_view text);

}  // namespace shadowdiffusion
