// Where the runtime keeps what it can make again.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

namespace shadowdiffusion {

// shadowdiffusion/PURPOSE in XDG_CACHE_HOME if that is absolute, else in ~/.cache; it need not exist. None without a home folder,
// as for a user without an account in a container.
std::optional<std::filesystem::path> cache_folder(std::string_view purpose);

// For people, where there is none.
inline constexpr std::string_view NO_CACHE = "there is no cache, since this user has no home folder: XDG_CACHE_HOME chooses a folder";

// Holds other processes off a folder, which is made, as long as it lives; where that cannot be done, nobody is held off.
class FolderLock {
  public:
    explicit FolderLock(const std::optional<std::filesystem::path>& folder) noexcept;
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int file_ = -1;
};

}  // namespace shadowdiffusion
