#include "photo/writing.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>
#include <span>
#include <system_error>
#include <utility>

#include "errors.h"
#include "photo/encoding.h"
#include "photo/path_names.h"
#include "text.h"

namespace shadowdiffusion {
namespace {

constexpr const char* TAKEN = "it exists already (--overwrite replaces it)";

[[noreturn]] void fail() { throw std::system_error(errno, std::generic_category()); }

// A file that is removed unless it was given its name.
class Temporary {
  public:
    explicit Temporary(std::string path) : path_(std::move(path)) {
        file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file_ < 0) fail();
    }
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    ~Temporary() {
        if (file_ >= 0) ::close(file_);
        ::unlink(path_.c_str());
    }

    const std::string& path() const { return path_; }

    void write(std::span<const std::uint8_t> data) {
        while (!data.empty()) {
            const ssize_t written = ::write(file_, data.data(), data.size());
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) fail();
            data = data.subspan(static_cast<std::size_t>(written));
        }
        if (::fsync(file_) != 0) fail();  // some disks say only now that they are full
        if (::close(std::exchange(file_, -1)) != 0) fail();
    }

    // Give the finished file its name; without `overwrite` never that of a file which appeared meanwhile.
    void publish(const std::string& target, bool overwrite) {
        if (!overwrite) {
            if (::link(path_.c_str(), target.c_str()) == 0) return;
            struct stat there{};
            if (errno == EEXIST || ::lstat(target.c_str(), &there) == 0) {
                errno = EEXIST;
                fail();
            }  // otherwise a file system without hard links
        }
        if (::rename(path_.c_str(), target.c_str()) != 0) fail();
    }

  private:
    std::string path_;
    int file_ = -1;
};

std::string random_name() {
    std::random_device device;
    constexpr const char* digits = "0123456789abcdef";
    std::string name;
    for (std::uint32_t bits = device(), i = 0; i < 8; ++i, bits >>= 4) name += digits[bits & 15];
    return name;
}

std::string reason(const std::error_code& code, const std::string& folder) {
    if (code != std::errc::file_exists) return std::strerror(code.value());
    return folder.empty() || std::filesystem::is_directory(folder) ? TAKEN : folder + " is no folder";
}

}  // namespace

Format check_target(const std::string& path, bool overwrite) {
    const Format form = format_of(path);
    struct stat there{};
    if (::stat(path.c_str(), &there) != 0) return form;
    if (S_ISDIR(there.st_mode)) throw PhotoError(text("cannot write ", path, ": it is a folder"));
    if (!S_ISREG(there.st_mode)) throw PhotoError(text("cannot write ", path, ": it is no regular file"));
    if (!overwrite) throw PhotoError(text("cannot write ", path, ": ", TAKEN));
    return form;
}

void write_photo(const std::string& path, const Photo& photo, bool overwrite, std::optional<int> quality,
                 const std::function<void(const std::string&)>& finished) {
    const std::string what = "write " + path;
    const auto file = encode_photo(photo, check_target(path, overwrite), quality, what);
    const auto [folder_view, name] = split_name(path);
    const std::string folder(folder_view);
    try {
        if (!folder.empty() && !std::filesystem::is_directory(folder)) std::filesystem::create_directories(folder);
        Temporary temporary(joined(folder, text(".", name, ".", random_name(), ".tmp")));
        temporary.write(file);
        if (finished) finished(temporary.path());
        temporary.publish(path, overwrite);
    } catch (const std::system_error& error) {
        throw PhotoError(text("cannot ", what, ": ", reason(error.code(), folder)));
    }
}

}  // namespace shadowdiffusion
