#include "batch/claims.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "photo/path_names.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

constexpr std::size_t RANDOM = 8;  // hexadecimal digits in the name of a temporary file

// The file, and whether it is new. Throws std::system_error.
std::pair<Descriptor, bool> opened(const std::string& path) {
    while (true) {
        Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
        if (file.get() >= 0) return {std::move(file), true};
        if (errno != EEXIST) throw std::system_error(errno, std::generic_category());
        Descriptor there(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (there.get() >= 0) return {std::move(there), false};
        if (errno != ENOENT) throw std::system_error(errno, std::generic_category());
    }
}

bool is_at(const std::string& path, const Descriptor& file) {
    struct stat there{}, own{};
    return ::stat(path.c_str(), &there) == 0 && ::fstat(file.get(), &own) == 0 && there.st_dev == own.st_dev &&
           there.st_ino == own.st_ino;
}

// Remove what a killed process was writing (photo/writing.h).
void sweep(const std::string& target) {
    const auto [folder, name] = split_name(target);
    const std::string before = text(".", name, "."), after = ".tmp";
    std::error_code failed;
    for (std::filesystem::directory_iterator entry(folder.empty() ? "." : folder, failed), end; !failed && entry != end;
         entry.increment(failed)) {
        const std::string found = entry->path().filename().string();
        if (found.size() != before.size() + RANDOM + after.size() || !found.starts_with(before) || !found.ends_with(after))
            continue;
        const auto is_digit = [](char digit) { return std::string_view("0123456789abcdef").find(digit) != std::string_view::npos; };
        if (std::ranges::all_of(std::string_view(found).substr(before.size(), RANDOM), is_digit))
            ::unlink(entry->path().c_str());
    }
}

}  // namespace

Claim::~Claim() {
    if (!path_.empty()) ::unlink(path_.c_str());
}

std::optional<Claim> claim(std::span<const std::string> targets) {
    const auto [folder, name] = split_name(targets.front());
    const std::string path = joined(folder, text(".", name, ".lock"));
    while (true) {
        auto [file, is_new] = opened(path);
        if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
            if (errno == EWOULDBLOCK) return std::nullopt;
            return Claim(path, std::move(file));  // there are file systems without locks
        }
        if (!is_at(path, file)) continue;  // its owner has just released and removed it
        if (!is_new) std::ranges::for_each(targets, sweep);
        return Claim(path, std::move(file));
    }
}

}  // namespace shadowdiffusion
