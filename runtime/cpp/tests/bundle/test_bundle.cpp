#include <doctest/doctest.h>

#include <fstream>

#include "bundle/bundle.h"
#include "bundle/opening.h"
#include "errors.h"
#include "temporary.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

std::string complaint(const fs::path& folder) {
    try {
        load_folder(folder);
        return "";
    } catch (const BundleError& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("a bundle is as its manifest says, or not opened") {
    const TemporaryFolder place;
    const fs::path copy = place.path() / "copy";
    fs::copy(BUNDLES "/shadow", copy, fs::copy_options::recursive);
    const std::string of = "of bundle " + copy.string() + " ";
    CHECK(complaint(copy) == "");
    SUBCASE("engines are not read") {
        fs::create_directories(copy / "engines" / "x");
        std::ofstream(copy / "engines" / "x" / "y") << "z";
        CHECK(complaint(copy) == "");
    }
    SUBCASE("a file more") {
        std::ofstream(copy / "golden" / "more") << "z";
        CHECK(complaint(copy) == "bundle " + copy.string() + " holds golden/more, which its manifest does not list: remove it");
    }
    SUBCASE("a file less") {
        fs::remove(copy / "prior.onnx");
        CHECK(complaint(copy) == "prior.onnx " + of + "is missing: copy or export the bundle again");
    }
    SUBCASE("a shorter file") {
        fs::resize_file(copy / "prior.onnx", 100);
        CHECK(complaint(copy).starts_with("prior.onnx " + of + "is damaged (100 bytes instead of "));
    }
    SUBCASE("a changed byte") {
        std::fstream(copy / "prior.onnx", std::ios::in | std::ios::out | std::ios::binary).seekp(5000) << 'x';
        CHECK(complaint(copy).starts_with("prior.onnx " + of + "is damaged (SHA-256 "));
    }
    SUBCASE("no manifest") {
        fs::remove(copy / "manifest.json");
        CHECK(complaint(copy) == copy.string() + " is not a bundle: it has no manifest.json");
    }
}

TEST_CASE("built-in bundles are found beside the library") {
    for (const char* task : {"shadow", "low-light", "exposure"}) CHECK(load_bundle(built_in(task)).manifest.task == task);
    CHECK(load_bundle().manifest.task == "shadow");
    CHECK_THROWS_AS(load_bundle("/nowhere"), BundleError);
}
