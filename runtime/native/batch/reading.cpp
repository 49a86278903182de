#include "batch/reading.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "batch/inputs.h"
#include "descriptor.h"
#include "errors.h"

namespace shadowdiffusion {
namespace {

// Bytes that are read at most: more than a photo of the largest size has, and an end for endless devices.
constexpr std::size_t LARGEST = std::size_t{2} << 30;
constexpr std::size_t PART = 1 << 20;
constexpr int PATIENCE = 200;  // milliseconds between looks whether to stop

// Wait until there is something to read; a pipe may stay silent for as long as it likes.
void await(int file, const Stop& stop) {
    pollfd waiting{file, POLLIN, 0};
    do stop.check();
    while (::poll(&waiting, 1, PATIENCE) <= 0);
}

std::vector<std::uint8_t> read_all(int file, std::size_t expected, const std::string& name, const Stop& stop) {
    std::vector<std::uint8_t> data(std::min(expected, LARGEST) + 1);  // one more, to see the end without growing
    std::size_t size = 0;
    while (true) {
        if (size == data.size()) data.resize(size + std::max(PART, size / 2));
        await(file, stop);
        const ssize_t read = ::read(file, data.data() + size, data.size() - size);
        if (read < 0 && errno == EINTR) continue;
        if (read < 0) throw PhotoError("cannot read " + name + ": " + std::strerror(errno));
        if (read == 0) break;
        size += static_cast<std::size_t>(read);
        if (size > LARGEST)
            throw PhotoError(name + " is larger than " + std::to_string(LARGEST >> 30) + " GiB: that is no photo");
    }
    data.resize(size);
    return data;
}

}  // namespace

std::vector<std::uint8_t> read_bytes(const std::string& path, const Stop& stop) {
    if (path == STDIN) {
        if (::fcntl(STDIN_FILENO, F_GETFD) < 0) throw PhotoError("stdin is closed: pipe a photo into it");
        if (::isatty(STDIN_FILENO)) throw PhotoError("stdin is a terminal: pipe a photo into it");
        return read_all(STDIN_FILENO, 0, "stdin", stop);
    }
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0 && errno == ENOENT) throw PhotoError(path + " does not exist");
    if (file.get() < 0) throw PhotoError("cannot read " + path + ": " + std::strerror(errno));
    struct stat status{};
    if (::fstat(file.get(), &status) != 0) throw PhotoError("cannot read " + path + ": " + std::strerror(errno));
    if (S_ISDIR(status.st_mode)) throw PhotoError(path + " is a folder, expected a photo");
    return read_all(file.get(), static_cast<std::size_t>(std::max<off_t>(0, status.st_size)), path, stop);
}

}  // namespace shadowdiffusion
