#include <atomic>
#include <string>
#include <thread>

#include "api/opened.h"
#include "forking.h"

namespace {

// Restores in children of forks: before the first photo, after it, and amid photos of another thread.
void fork_and_restore(const char* backend) {
    const Opened opened(nullptr, backend);
    const std::vector<std::uint8_t> pixels = picture(40 * 56 * 3);
    const shadowdiffusion_photo photo = photo_of(pixels, 40, 56);
    const auto restored = [&] {
        std::vector<std::uint8_t> found(pixels.size());
        shadowdiffusion_result result{sizeof result, found.data(), nullptr, nullptr, nullptr};
        const auto status = shadowdiffusion_restore(opened.restorer, &photo, nullptr, nullptr, &result);
        return status == SHADOWDIFFUSION_OK ? found : std::vector<std::uint8_t>();
    };
    CHECK(in_child([&] { return restored().size() == pixels.size(); }) == 0);
    const std::vector<std::uint8_t> expected = restored();
    CHECK(expected.size() == pixels.size());
    CHECK(in_child([&] { return restored() == expected; }) == 0);
    std::atomic<bool> stop = false;
    std::thread other([&] {
        while (!stop) restored();
    });
    for (int i = 0; i < 3; ++i) CHECK(in_child([&] { return restored() == expected; }) == 0);
    stop = true;
    other.join();
}

}  // namespace

TEST_CASE("a restorer that was opened before a fork restores in the child") {
    int tried = 0;
    for (const char* backend : {"openvino", "onnxruntime"}) {
        shadowdiffusion_settings settings;
        shadowdiffusion_settings_init(&settings);
        settings.backend = backend;
        shadowdiffusion_restorer* restorer = nullptr;
        const bool here = shadowdiffusion_open(nullptr, &settings, &restorer) == SHADOWDIFFUSION_OK;
        shadowdiffusion_close(restorer);
        if (!here) continue;  // not built in, or its library is not installed
        CAPTURE(std::string(backend));
        fork_and_restore(backend);
        ++tried;
    }
    CHECK(tried > 0);
}
