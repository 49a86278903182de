#include "files.h"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace shadowdiffusion {

std::vector<std::byte> read_file(const std::filesystem::path& path) {
    const auto fail = [&] { throw std::system_error(errno, std::generic_category()); };
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
    if (!file) fail();
    std::error_code unknown;
    const auto size = std::filesystem::file_size(path, unknown);
    std::vector<std::byte> bytes(unknown ? 0 : static_cast<std::size_t>(size) + 1);
    std::size_t used = 0;
    for (;;) {
        if (used == bytes.size()) bytes.resize(2 * bytes.size() + 4096);
        const std::size_t got = std::fread(bytes.data() + used, 1, bytes.size() - used, file.get());
        used += got;
        if (got == 0) break;
    }
    if (std::ferror(file.get())) fail();
    bytes.resize(used);
    return bytes;
}

}  // namespace shadowdiffusion
