#include <doctest/doctest.h>
#include <stdlib.h>
#include <zip.h>

#include <fstream>
#include <optional>

#include "bundle/opening.h"
#include "errors.h"
#include "temporary.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

// XDG_CACHE_HOME for one test.
class Cache {
  public:
    explicit Cache(const fs::path& place) {
        if (const char* old = std::getenv("XDG_CACHE_HOME")) old_ = old;
        ::setenv("XDG_CACHE_HOME", place.c_str(), 1);
    }
    ~Cache() { old_ ? ::setenv("XDG_CACHE_HOME", old_->c_str(), 1) : ::unsetenv("XDG_CACHE_HOME"); }

  private:
    std::optional<std::string> old_;
};

struct Member {
    std::string name;
    fs::path file;
    zip_int32_t method = ZIP_CM_STORE;
};

void pack(const fs::path& path, const std::vector<Member>& members) {
    zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
    for (const Member& member : members) {
        zip_source_t* source = zip_source_file(archive, member.file.c_str(), 0, -1);
        const zip_int64_t index = zip_file_add(archive, member.name.c_str(), source, 0);
        zip_set_file_compression(archive, static_cast<zip_uint64_t>(index), member.method, 0);
    }
    REQUIRE(zip_close(archive) == 0);
}

std::vector<Member> members() {
    std::vector<Member> all;
    for (const auto& entry : fs::recursive_directory_iterator(BUNDLES "/exposure"))
        if (entry.is_regular_file()) all.push_back({entry.path().lexically_relative(BUNDLES "/exposure").string(), entry.path()});
    return all;
}

std::string complaint(const fs::path& path) {
    try {
        load_bundle(path);
        return "";
    } catch (const BundleError& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("a packed bundle opens like its folder, from the cache the second time, which heals") {
    const TemporaryFolder place;
    const Cache cache(place.path() / "cache");
    const fs::path path = place.path() / "bundle.zip";
    pack(path, members());
    const Bundle bundle = load_bundle(path);
    CHECK(bundle.manifest.task == "exposure");
    CHECK(bundle.path.string().starts_with((place.path() / "cache").string()));
    CHECK(load_bundle(path).path == bundle.path);
    fs::resize_file(bundle.path / "prior.onnx", 10);
    CHECK(complaint(path) == "");
    CHECK(fs::file_size(bundle.path / "prior.onnx") > 10);
    CHECK(std::distance(fs::directory_iterator(bundle.path.parent_path()), {}) == 1);
}

TEST_CASE("archives that nobody packed so are refused") {
    const TemporaryFolder place;
    const Cache cache(place.path() / "cache");
    const fs::path path = place.path() / "bundle.zip";
    std::vector<Member> all = members();
    SUBCASE("compressed") {
        for (Member& member : all)
            if (member.name == "prior.onnx") member.method = ZIP_CM_DEFLATE;
        pack(path, all);
        CHECK(complaint(path) == "prior.onnx in " + path.string() + " is compressed: a packed bundle only stores (shadowdiffusion export pack)");
    }
    SUBCASE("a member more") {
        all.push_back({"../outside", all[0].file});
        pack(path, all);
        CHECK(complaint(path) == path.string() + " holds '../outside', which its manifest does not list");
    }
    SUBCASE("a member less") {
        std::erase_if(all, [](const Member& member) { return member.name == "prior.onnx"; });
        pack(path, all);
        CHECK(complaint(path) == path.string() + " lacks prior.onnx: copy or pack it again");
    }
    SUBCASE("no manifest") {
        std::erase_if(all, [](const Member& member) { return member.name == "manifest.json"; });
        pack(path, all);
        CHECK(complaint(path) == path.string() + " is not a bundle: it has no manifest.json at its top");
    }
    SUBCASE("cut") {
        pack(path, all);
        fs::resize_file(path, fs::file_size(path) - 100);
        CHECK(complaint(path).starts_with(path.string() + " is not a bundle: it is no folder and not a whole zip file ("));
    }
    SUBCASE("changed") {
        pack(path, all);
        std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).seekp(200000) << "changed";
        CHECK(complaint(path) != "");
    }
    SUBCASE("a cache that cannot be written") {
        pack(path, all);
        std::ofstream(place.path() / "cache") << "a file";
        CHECK(complaint(path).find("XDG_CACHE_HOME chooses a folder") != std::string::npos);
    }
    std::error_code absent;
    const fs::path folder = place.path() / "cache" / "shadowdiffusion" / "bundles";
    if (fs::is_directory(folder, absent)) CHECK(fs::is_empty(folder));
}
