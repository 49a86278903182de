// Whole files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

namespace shadowdiffusion {

// All bytes of a file. Throws std::system_error.
std::vector<std::byte> read_file(const std::filesystem::path& path);

}  // namespace shadowdiffusion
