// Photos and the file system: awkward names, targets that must not be written, and writes that fail half-way.

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "errors.h"
#include "photo/reading.h"
#include "photo/writing.h"
#include "pictures.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

// A folder that is removed in the end.
class Folder {
  public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "photos.XXXXXX").string();
        path_ = ::mkdtemp(name.data());
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { fs::remove_all(path_); }
    std::string operator/(const std::string& name) const { return (path_ / name).string(); }
    std::size_t count() const {
        return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
    }

  private:
    fs::path path_;
};

std::vector<std::uint8_t> bytes_in(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string refusal(const std::string& path, const Photo& photo, bool overwrite = false) {
    try {
        write_photo(path, photo, overwrite);
    } catch (const PhotoError& error) {
        return error.what();
    }
    return "it was written";
}

}  // namespace

TEST_CASE("any name works, and missing folders are made") {
    const Folder folder;
    const Photo photo = picture(6, 7);
    for (const std::string name : {"with space.png", "new\nline.png", "-dash[Q=1].png", "Gr\u00fc\u00dfe.png",
                                   "latin caf\xe9 \xff.png", "deep/er/a.png"}) {
        const std::string path = folder / name;
        write_photo(path, photo);
        CHECK(read_photo(bytes_in(path), "it").pixels == photo.pixels);
    }
    CHECK(folder.count() == 6);
}

TEST_CASE("targets that must not be written are left as they are") {
    const Folder folder;
    const Photo photo = picture(6, 7);
    const std::string taken = folder / "a.png";
    std::ofstream(taken) << "mine";
    fs::create_directory(folder / "folder.png");
    CHECK(refusal(taken, photo) == "cannot write " + taken + ": it exists already (--overwrite replaces it)");
    CHECK(refusal(folder / "folder.png", photo, true) ==
          "cannot write " + (folder / "folder.png") + ": it is a folder");
    CHECK(refusal(folder / "a.bmp", photo) ==
          "cannot write " + (folder / "a.bmp") + ": its name must end in one of " + std::string(SUFFIX_LIST));
    CHECK(refusal(taken + "/b.png", photo).starts_with("cannot write " + taken + "/b.png: "));
    const std::string original = "mine";
    CHECK(bytes_in(taken) == std::vector<std::uint8_t>(original.begin(), original.end()));
    write_photo(taken, photo, true);
    CHECK(read_photo(bytes_in(taken), "it").pixels == photo.pixels);
    CHECK(folder.count() == 2);
}

TEST_CASE("a photo that the format cannot hold leaves nothing") {
    const Folder folder;
    CHECK(refusal(folder / "a.jpg", picture(4, 4, PixelType::uint8, 4)).find("JPEG has no transparency") !=
          std::string::npos);
    CHECK(refusal(folder / "a.webp", picture(1, 16384, PixelType::uint8, 1)).find("allows 16383 pixels a side") !=
          std::string::npos);
    CHECK(folder.count() == 0);
}

TEST_CASE("a full disk leaves nothing") {
    const Folder folder;
    const std::string path = folder / "a.png";
    std::ofstream(path) << "mine";
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit limit{2000, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string said = refusal(path, picture(90, 90), true);
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(said == "cannot write " + path + ": File too large");
    CHECK(bytes_in(path).size() == 4);
    CHECK(folder.count() == 1);
}
