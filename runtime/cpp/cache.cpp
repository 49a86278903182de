#include "cache.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace shadowdiffusion {

namespace {

// Empty where there is none.
std::filesystem::path home() {
    if (const char* named = std::getenv("HOME"); named && *named) return named;
    std::array<char, 4096> text;
    passwd entry, *found = nullptr;
    if (getpwuid_r(getuid(), &entry, text.data(), text.size(), &found) == 0 && found) return found->pw_dir;
    return {};
}

}  // namespace

std::optional<std::filesystem::path> cache_folder(std::string_view purpose) {
    const char* named = std::getenv("XDG_CACHE_HOME");
    if (named && *named == '/') return std::filesystem::path(named) / "shadowdiffusion" / purpose;
    const std::filesystem::path own = home();
    if (!own.is_absolute()) return {};
    return own / ".cache" / "shadowdiffusion" / purpose;
}

FolderLock::FolderLock(const std::optional<std::filesystem::path>& folder) noexcept {
    if (!folder) return;
    std::error_code ignored;
    std::filesystem::create_directories(*folder, ignored);
    file_ = ::open((*folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file_ >= 0) ::flock(file_, LOCK_EX);
}

FolderLock::~FolderLock() {
    if (file_ >= 0) ::close(file_);  // which unlocks it
}

}  // namespace shadowdiffusion
