#include "cache.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
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

FolderLock::FolderLock(const std::filesystem::path& folder) noexcept {
    std::error_code ignored;
    std::filesystem::create_directories(folder, ignored);
    file_ = ::open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file_ >= 0) ::flock(file_, LOCK_EX);
}

FolderLock::~FolderLock() {
    if (file_ >= 0) ::close(file_);  // which unlocks it
}

}  // namespace shadowdiffusion
