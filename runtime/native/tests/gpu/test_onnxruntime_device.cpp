// ONNX Runtime in the loop on the fake GPU: its sessions of the CPU, with the bundle's own networks, bound to the memory of
// the fake driver (fake_onnxruntime.cpp).
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>

#include "backends/graph_networks.h"
#include "backends/onnxruntime.h"
#include "backends/onnxruntime_device.h"
#include "backends/onnxruntime_library.h"
#include "backends/selection.h"
#include "bundle/golden_example.h"
#include "errors.h"
#include "gpu/device_loop.h"
#include "gpu/fake_driver.h"
#include "gpu/records.h"
#include "loop/host_loop.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

// Which ONNX Runtime is found, and which one that is made of.
[[maybe_unused]] const int found = ::setenv("SHADOWDIFFUSION_ONNXRUNTIME", FAKE_ONNXRUNTIME, 1) +
                                   ::setenv("SHADOWDIFFUSION_REAL_ONNXRUNTIME", REAL_ONNXRUNTIME, 1);

// The built-in bundle with stand-ins for its kernels, and a cache of its own as long as it lives.
struct Shop {
    explicit Shop(MaskPolicy policy = MaskPolicy::input) : bundle(device_bundle(place, {})) {
        ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
        const Bundle whole = load_folder(BUNDLES "/shadow");
        std::swap(bundle.manifest.kernels, kernels);
        bundle.manifest = whole.manifest;
        bundle.manifest.kernels = kernels;
        bundle.manifest.sampling.mask_policy = policy;
        for (const auto& [name, entry] : whole.manifest.files) {
            fs::create_directories((place.path() / name).parent_path());
            fs::create_symlink(whole.path / name, place.path() / name);
        }
        const Golden golden = read_golden(whole);
        size = golden.size, image = golden.image, mask = golden.mask;
    }
    ~Shop() { ::unsetenv("XDG_CACHE_HOME"); }

    std::unique_ptr<Loop> chosen(const std::string& backend = "onnxruntime-cuda") {
        said.clear();
        return choose(bundle, {backend, 1, [this](const std::string& line) { said.push_back(line); }}, workers);
    }
    WorkingImage photo(bool masked = true) const {
        return {{image, 3, size.first, size.second}, masked ? ConstPlanes{mask, 1, size.first, size.second} : ConstPlanes{}};
    }
    Working restored(Loop& loop, std::int64_t steps, bool masked = true, bool with_mask = true) {
        const auto [picture, shadow] = photo(masked);
        return loop.restore(picture, shadow, {bundle.table(steps), 7, with_mask}, arena);
    }

    TemporaryFolder place, cache;
    Bundle bundle;
    std::vector<Kernel> kernels;
    Size size;
    std::vector<float> image, mask;
    std::vector<std::string> said;
    Workers workers{2};
    Arena arena;
};

// Gives the driver back as it was, when everything on it is gone.
struct Fresh {
    ~Fresh() { fake_driver().reset(); }
};

void silent(const std::string&) {}

std::string refusal(const std::function<void()>& work) {
    try {
        work();
        return "";
    } catch (const RestoreError& error) {
        return error.what();
    }
}

bool same(ConstPlanes one, ConstPlanes other) {
    return std::memcmp(one.values.data(), other.values.data(), one.values.size_bytes()) == 0;
}

}  // namespace

TEST_CASE("ONNX Runtime on the GPU gives the results of the CPU, photo by photo, in single launches") {
    const Fresh fresh;
    for (const MaskPolicy policy : {MaskPolicy::input, MaskPolicy::closed_form}) {
        Shop shop(policy);
        std::vector<std::string> said;
        DeviceLoop gpu(shop.bundle, onnxruntime_on_device(shop.bundle, 1), [&](const std::string& line) { said.push_back(line); });
        GraphNetworks networks(shop.bundle, onnxruntime_graphs(shop.bundle, 1));
        HostLoop cpu(shop.bundle, networks, shop.workers);
        for (const bool masked : {true, false}) {
            const Working expected = shop.restored(cpu, 2, masked), got = shop.restored(gpu, 2, masked);
            CHECK(psnr(got.image.values, expected.image.values) > 100);
            CHECK(psnr(got.clean.values, expected.clean.values) > 100);
            CHECK(psnr(got.mask.values, expected.mask.values) > 100);
            const std::vector<WorkingImage> twice(2, shop.photo(masked));
            for (const Working& again : gpu.restore_many(twice, {shop.bundle.table(2), 7, true}, shop.arena))
                CHECK(same(again.image, got.image));
        }
        CHECK(said == std::vector<std::string>{"ONNX Runtime on CUDA runs in single launches, without CUDA graphs: ONNX Runtime "
                                               "takes and moves memory while it runs"});
        CHECK(std::ranges::count(fake_driver().calls, "cuStreamBeginCapture_v2") == 0);
    }
}

TEST_CASE("a step of ONNX Runtime moves nothing between host and device") {
    const Fresh fresh;
    Shop shop;
    DeviceLoop gpu(shop.bundle, onnxruntime_on_device(shop.bundle, 1), silent);
    const auto counted = [&](std::int64_t steps) {
        shop.restored(gpu, steps);
        fake_driver().done.clear();
        shop.restored(gpu, steps);
        return fake_driver().done;
    };
    const auto few = counted(2), many = counted(5);
    for (const auto& counts : {few, many}) {
        CHECK(counts.at("upload") == 1);
        CHECK(counts.at("download") == 1);
    }
    CHECK(many.at("network") - few.at("network") == 3);
    CHECK(many.at("copy") - few.at("copy") == 3);
}

TEST_CASE("what ONNX Runtime refuses on the GPU is one line, and the next photo works") {
    const Fresh fresh;
    Shop shop;
    DeviceLoop gpu(shop.bundle, onnxruntime_on_device(shop.bundle, 1), silent);
    const Working expected = shop.restored(gpu, 2);
    fake_driver().refused["RunWithBinding"] = 1;
    const std::string line = refusal([&] { shop.restored(gpu, 2); });
    CHECK(line.starts_with("prior.onnx failed at "));
    CHECK(line.find("CUBLAS failure") != std::string::npos);
    fake_driver().refused.clear();
    CHECK(same(shop.restored(gpu, 2).image, expected.image));
}

TEST_CASE("the bundle's own graphs go to the GPU after a check that is remembered") {
    const Fresh fresh;
    Shop shop;
    CHECK(dynamic_cast<DeviceLoop*>(shop.chosen().get()));
    CHECK(shop.said == std::vector<std::string>{"checking ONNX Runtime on CUDA, which is new to this machine (kernels)"});
    for (const char* backend : {"auto", "onnxruntime-cuda"}) {
        CHECK(dynamic_cast<DeviceLoop*>(shop.chosen(backend).get()));
        CHECK(shop.said.empty());
    }
    CHECK(!dynamic_cast<DeviceLoop*>(shop.chosen("onnxruntime").get()));
}

TEST_CASE("without kernels for the GPU, ONNX Runtime leaves the steps to the CPU") {
    const Fresh fresh;
    Shop shop;
    const Working expected = shop.restored(*shop.chosen(), 2);
    shop.bundle.manifest.kernels.clear();
    const auto loop = shop.chosen();
    REQUIRE(shop.said.size() == 1);
    CHECK(shop.said[0].starts_with("ONNX Runtime on CUDA leaves the steps between its networks to the CPU: the bundle has no kernels"));
    CHECK(psnr(shop.restored(*loop, 2).image.values, expected.image.values) > 100);
}

TEST_CASE("where CUDA does not start, one line says so and the CPU is used") {
    const Fresh fresh;
    Shop shop;
    fake_driver().refused["CUDAExecutionProvider"] = 1;
    const std::string why = refusal([&] { shop.chosen(); });
    CHECK(why.find("Failed to load libcudnn.so.9") != std::string::npos);
    CHECK(why.find('\n') == std::string::npos);
    CHECK(shop.restored(*shop.chosen("auto"), 2).image.size() == shop.size);
    CHECK(shop.said == std::vector<std::string>{"backend onnxruntime-cuda is passed over: " + why});
    fake_driver().refused = {{"GetAvailableProviders", 1}};  // one of the CPU
    CHECK(shop.chosen("auto"));
    CHECK(shop.said.empty());
    CHECK(refusal([&] { shop.chosen(); }) ==
          "ONNX Runtime " + onnxruntime_version() + " was built without CUDA: install onnxruntime-gpu, or set "
          "SHADOWDIFFUSION_ONNXRUNTIME to the folder of another");
    fake_driver().refused = {{"cuInit", 100}};  // no GPU
    CHECK(shop.chosen("auto"));
    CHECK(shop.said.empty());
    CHECK(refusal([&] { shop.chosen(); }) == "the GPU cannot be used: cuInit failed with error 100; use a CPU backend");
}
