#include "cache.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace shadowdiffusion {

namespace {

std::filesystem::path home() {
    if (const char* named = std::getenv("HOME"); named && *named) return named;
    std::array<char, 4096> text;
    passwd entry, *found = nullptr;
    if (getpwuid_r(getuid(), &entry, text.data(), text.size(), &found) == 0 && found) return found->pw_dir;
    return "/";
}

}  // namespace

std::filesystem::path cache_folder(std::string_view purpose) {
    const char* named = std::getenv("XDG_CACHE_HOME");
    const std::filesystem::path base = named && *named == '/' ? std::filesystem::path(named) : home() / ".cache";
    return base / "shadowdiffusion" / purpose;
}

}  // namespace shadowdiffusion
