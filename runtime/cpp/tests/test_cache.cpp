// In children of forks, whose environment and user are theirs alone.
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <vector>

#include "api/opened.h"
#include "bundle/opening.h"
#include "cache.h"
#include "errors.h"
#include "forking.h"
#include "temporary.h"

using namespace shadowdiffusion;

namespace {

// Where the cache is, by the two variables; null leaves one out.
std::optional<std::filesystem::path> cache_with(const char* xdg, const char* home) {
    xdg ? ::setenv("XDG_CACHE_HOME", xdg, 1) : ::unsetenv("XDG_CACHE_HOME");
    home ? ::setenv("HOME", home, 1) : ::unsetenv("HOME");
    return cache_folder("things");
}

}  // namespace

TEST_CASE("the cache is where XDG_CACHE_HOME says, else below the home folder, else nowhere") {
    CHECK(in_child([] { return cache_with("/x", "/home/a") == "/x/shadowdiffusion/things"; }) == 0);
    CHECK(in_child([] { return cache_with("x", "/home/a") == "/home/a/.cache/shadowdiffusion/things"; }) == 0);
    CHECK(in_child([] { return cache_with(nullptr, "relative") == std::nullopt; }) == 0);
    if (::geteuid() != 0) return;
    CHECK(in_child([] { return cache_with(nullptr, nullptr).has_value(); }) == 0);  // by the entry of root
    CHECK(in_child([] { return ::setuid(54321) == 0 && cache_with(nullptr, "") == std::nullopt; }) == 0);
}

TEST_CASE("without a cache photos are restored after one note, and a packed bundle is refused in words") {
    const TemporaryFolder folder;
    CHECK(in_child([&] {
              std::filesystem::current_path(folder.path());
              cache_with(nullptr, "relative");
              std::vector<std::string> lines;
              shadowdiffusion_settings settings;
              shadowdiffusion_settings_init(&settings);
              settings.warning = [](const char* line, void* context) { static_cast<std::vector<std::string>*>(context)->push_back(line); };
              settings.context = &lines;
              shadowdiffusion_restorer* restorer = nullptr;
              std::vector<std::uint8_t> pixels = picture(40 * 56 * 3);
              const shadowdiffusion_photo photo = photo_of(pixels, 40, 56);
              const shadowdiffusion_result result{sizeof result, pixels.data(), nullptr, nullptr, nullptr};
              return shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_OK &&
                     shadowdiffusion_restore(restorer, &photo, nullptr, nullptr, &result) == SHADOWDIFFUSION_OK &&
                     lines == std::vector<std::string>{std::string(NO_CACHE)} && std::filesystem::is_empty(folder.path());
          }) == 0);
    CHECK(in_child([&] {
              cache_with(nullptr, "relative");
              try {
                  load_bundle(BUNDLES "/shadow/manifest.json");
              } catch (const BundleError& error) {
                  return std::string(error.what()).find("there is no cache folder (XDG_CACHE_HOME chooses a folder)") != std::string::npos;
              }
              return false;
          }) == 0);
}
