#include "bundle/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <system_error>
#include <vector>

#include "descriptor.h"

namespace shadowdiffusion {

namespace {

// Bytes that were read into `block`, 0 at the end.
std::size_t read(const Descriptor& file, std::span<unsigned char> block) {
    for (;;) {
        const ssize_t got = ::read(file.get(), block.data(), block.size());
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR) throw std::system_error(errno, std::generic_category());
    }
}

// A SHA-256 that is being computed.
class Sha256 {
  public:
    Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
        if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
    }

    void add(const void* data, std::size_t size) { EVP_DigestUpdate(context_.get(), data, size); }

    // Lower-case hexadecimal digits of all that was added.
    std::string digits() {
        std::array<unsigned char, 32> digest;
        EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
        std::string found;
        for (const unsigned char byte : digest) {
            found += "0123456789abcdef"[byte >> 4];
            found += "0123456789abcdef"[byte & 15];
        }
        return found;
    }

  private:
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

}  // namespace

FileEntry hash_file(const std::filesystem::path& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) throw std::system_error(errno, std::generic_category());
    Sha256 sum;
    FileEntry entry{0, {}};
    std::vector<unsigned char> block(std::size_t{1} << 18);
    while (const std::size_t got = read(file, block)) {
        sum.add(block.data(), got);
        entry.size += got;
    }
    entry.sha256 = sum.digits();
    return entry;
}

std::string sha256(std::string_view text) {
    Sha256 sum;
    sum.add(text.data(), text.size());
    return sum.digits();
}

}  // namespace shadowdiffusion
