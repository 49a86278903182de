// Where the runtime keeps what it can make again.
#pragma once

#include <filesystem>
#include <string_view>

namespace shadowdiffusion {

// shadowdiffusion/PURPOSE in XDG_CACHE_HOME if that is absolute, else in ~/.cache; it need not exist.
std::filesystem::path cache_folder(std::string_view purpose);

}  // namespace shadowdiffusion
