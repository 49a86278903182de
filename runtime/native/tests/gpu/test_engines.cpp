// Which engine of a bundle is used: fake networks in place of what TensorRT would open.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cache.h"
#include "bundle/digest.h"
#include "engines/engine_loop.h"
#include "engines/fit.h"
#include "engines/golden_check.h"
#include "engines/within_profile.h"
#include "errors.h"
#include "gpu/device_loop.h"
#include "gpu/fake_device_networks.h"
#include "gpu/fake_driver.h"
#include "gpu/records.h"
#include "loop/host_loop.h"
#include "text.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

// A cache of its own as long as it lives, a bundle with a golden example, and a backend of fake networks.
struct Shop {
    Shop() : bundle(device_bundle(place, {})) {
        ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
        for (const std::string_view name : {GOLDEN_INPUT, GOLDEN_EXPECTED}) {
            const fs::path file = place.path() / name;
            fs::create_directories(file.parent_path());
            fs::copy_file(fs::path(BUNDLES "/shadow") / name, file);
            bundle.manifest.files[std::string(name)] = hash_file(file);
        }
        for (auto& [name, entry] : bundle.manifest.files)
            if (name.ends_with(".onnx")) entry.sha256 = sha256(name);
        backend = {"tensorrt", "TensorRT", "10.16.1.11", [this](const Bundle& of, const StoredEngine& engine) {
                       ++opened;
                       return std::shared_ptr<DeviceNetworks>(fake_device_networks(of, traits[engine.key.precision]));
                   }};
        for (const char* precision : {"fp16", "fp32"}) traits[precision].least = {16, 16}, traits[precision].most = {48, 80};
    }
    ~Shop() { ::unsetenv("XDG_CACHE_HOME"); }

    // The name of an engine folder, whose key is as of a machine like the fake one, with changes.
    std::string engine(const nlohmann::json& changes = nlohmann::json::object(), const fs::path& store = {}) {
        nlohmann::json key = {{"device", "Imaginary 90"}, {"sm", {90}}, {"driver", Cuda().gpu().driver}, {"backend", "tensorrt"},
                              {"backend_version", "10.16.1.11"}, {"provider", nullptr}, {"onnx", network_digests(bundle)},
                              {"precision", "fp16"}, {"profile", "16x16:32x48:48x80"}, {"batch", "1:1:1"},
                              {"optimization_level", 3}, {"flags", nlohmann::json::array()}};
        key.update(changes);
        const fs::path folder = (store.empty() ? place.path() / ENGINES : store) / "new";
        fs::create_directories(folder);
        std::ofstream(folder / "prior.engine") << "compiled";
        const FileEntry entry = hash_file(folder / "prior.engine");
        const nlohmann::json record = {
            {"format_version", 1}, {"key", key}, {"created", "2026-01-01T00:00:00+00:00"},
            {"networks", {{"prior.onnx", {{"file", "prior.engine"}, {"seconds", 1.5}, {"tensors", {{"image", {{"kind", "input"}, {"dtype", "FLOAT"}, {"min", {1, 3, 16, 16}}, {"opt", {1, 3, 32, 48}}, {"max", {1, 3, 48, 80}}}}}}}}}},
            {"files", {{"prior.engine", {{"size", entry.size}, {"sha256", entry.sha256}}}}}, {"notes", nlohmann::json::array()},
            {"kept_in_fp32", nlohmann::json::object()}, {"gate", nullptr}, {"session", nullptr}, {"latency_ms", latency},
            {"workspace_mib", nullptr}, {"status", "made by a test"}};
        std::ofstream(folder / "record.json") << record.dump(2);
        const fs::path named = folder.parent_path() / ("tensorrt_" + read_engine(folder).key.digest());
        fs::rename(folder, named);
        return named.filename().string();
    }

    EngineLoop best() {
        const auto portable = [this] { return std::make_unique<HostLoop>(bundle, fake_device_networks(bundle, portable_traits), workers); };
        return best_engine(bundle, backend, portable, [this](const std::string& line) { said.push_back(line); }, workers);
    }

    std::string refusal() {
        try {
            best();
            return "";
        } catch (const RestoreError& error) {
            return error.what();
        }
    }

    TemporaryFolder place, cache;
    Bundle bundle;
    EngineBackend backend;
    std::map<std::string, DeviceTraits> traits;  // of the networks of an engine, by its precision
    DeviceTraits portable_traits;
    nlohmann::json latency = nlohmann::json::object();
    int opened = 0;
    std::vector<std::string> said;
    Workers workers{2};
};

struct Fresh {
    ~Fresh() { fake_driver().reset(); }
};

}  // namespace

TEST_CASE("the digest of a key, and the folder of a bundle's engines in the cache, are those of the Python runtime") {
    EngineKey key;
    key.device = "NVIDIA GeForce RTX 4090 \"Ö\"", key.sm = {89, 90}, key.backend = "tensorrt", key.backend_version = "10.16.1.11";
    key.onnx = {{"prior.onnx", std::string(64, 'b')}, {"denoiser.onnx", std::string(64, 'a')}};
    key.precision = "fp16", key.profile = "16x16:32x48:64x96", key.batch = "1:1:2", key.optimization_level = 3;
    key.flags = {"strip-weights"};
    CHECK(key.digest() == "6d5267b188");
    const TemporaryFolder cache;
    ::setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
    fs::create_directories(cache_folder(ENGINES) / "d6cbe8d381d56a4da779051594638a96" / "found");
    Bundle bundle{"/nowhere", load_folder(BUNDLES "/shadow").manifest};
    bundle.manifest.files = {{"prior.onnx", {1, std::string(64, 'b')}}, {"denoiser.onnx", {1, std::string(64, 'a')}}};
    CHECK(engine_folders(bundle).size() == 1);
    ::unsetenv("XDG_CACHE_HOME");
}

TEST_CASE("a good engine is checked once, and runs the whole loop on the GPU") {
    const Fresh fresh;
    Shop shop;
    const std::string name = shop.engine();
    {
        const EngineLoop found = shop.best();
        CHECK(dynamic_cast<DeviceLoop*>(found.loop.get()));
        CHECK(found.key.precision == "fp16");
        CHECK(shop.said == std::vector<std::string>{"checking engine " + name + ", which is new to this machine (networks)",
                                                    "checking engine " + name + ", which is new to this machine (kernels)"});
    }
    shop.said.clear();
    CHECK(shop.best().loop);
    CHECK(shop.said.empty());
    fake_driver().sm = 120;  // another machine
    CHECK(shop.refusal() == "no engine of TensorRT can be used: engine " + name +
                                " is passed over: device is Imaginary 90, not Imaginary 120; sm is 90, not 120");
}

TEST_CASE("the fastest is used, and the next in line if it does not prove right") {
    const Fresh fresh;
    Shop shop;
    const std::string half = shop.engine(), single = shop.engine({{"precision", "fp32"}});
    CHECK(shop.best().key.precision == "fp16");
    shop.traits["fp16"].broken = true;
    const TemporaryFolder other;
    ::setenv("XDG_CACHE_HOME", other.path().c_str(), 1);
    shop.said.clear();
    CHECK(shop.best().key.precision == "fp32");
    const std::string quarantined =
        "engine " + half + " is quarantined, the next in line is used: it failed on the golden example: denoiser.onnx returned "
        "values that are not finite: it cannot handle this photo (python -m export build-engine builds it again)";
    CHECK(std::ranges::count(shop.said, quarantined) == 1);
    shop.traits["fp16"].broken = false;
    shop.said.clear();
    CHECK(shop.best().key.precision == "fp32");  // it is remembered
    CHECK(shop.said == std::vector<std::string>{quarantined});
    shop.latency = {{"denoiser.onnx", 1.0}};
    shop.engine({{"precision", "fp32"}, {"optimization_level", 5}});
    CHECK(shop.best().key.optimization_level == 5);  // what was measured comes first
}

TEST_CASE("an engine whose check took the process with it is not tried again") {
    const Fresh fresh;
    Shop shop;
    shop.engine();
    const std::string device = Cuda().gpu().title();
    const StoredEngine stored = read_engine(engine_folders(shop.bundle).at(0));
    const Checked engine{stored.name(), stored.digest};
    struct Killed {};
    const auto crash = [&]() -> double { throw Killed(); };
    const auto silent = [](const std::string&) {};
    CHECK_THROWS_AS(verdict_of(engine, device, "networks", 50, crash, silent), Killed);
    CHECK(verdict_of(engine, device, "networks", 50, [] { return 60.0; }, silent).failure() ==
          "it failed on the golden example: its check did not come to an end");
    CHECK(shop.refusal().find("is quarantined") != std::string::npos);
    CHECK(verdict_of(engine, "another device", "networks", 50, [] { return 49.96; }, silent).failure() ==
          "it reproduces the golden example to 50 dB only, 50 dB are needed");
    CHECK(!verdict_of(engine, "a third", "networks", 50, [] { return 50.0; }, silent).failure());
}

TEST_CASE("outputs that are not near those of the portable networks count, however good the image is") {
    const Fresh fresh;
    Shop shop;
    shop.engine();
    shop.portable_traits.broken = true;
    CHECK(shop.refusal().find("denoiser.onnx returned values that are not finite") != std::string::npos);
}

TEST_CASE("kernels that are absent, or do not prove right, leave the steps to the CPU") {
    const Fresh fresh;
    Shop shop;
    const std::string name = shop.engine();
    shop.bundle.manifest.kernels.clear();
    CHECK(!dynamic_cast<DeviceLoop*>(shop.best().loop.get()));
    CHECK(shop.said.back().starts_with("engine " + name + " leaves the steps between its networks to the CPU: the bundle has no kernels for this GPU"));
}

TEST_CASE("engines that do not fit are passed over, with the reason") {
    const Fresh fresh;
    Shop shop;
    CHECK(shop.refusal() == "no engine of TensorRT can be used: the bundle has none: python -m export build-engine --backend tensorrt");
    const std::string old = shop.engine({{"backend_version", "9.2.0.5"}, {"onnx", {{"prior.onnx", "x"}}}});
    CHECK(shop.refusal() == "no engine of TensorRT can be used: engine " + old +
                                " is passed over: backend version is 9.2.0.5, not 10.16.1.11; denoiser.onnx and mask_head.onnx and "
                                "prior.onnx changed since");
    fs::remove_all(shop.place.path() / ENGINES);
    const std::string compatible = shop.engine({{"backend_version", "10.3.0.1"}, {"flags", {"version-compatible"}}});
    CHECK(shop.best().loop);
    fs::remove_all(shop.place.path() / ENGINES);
    shop.engine({{"sm", nlohmann::json::array()}, {"device", nullptr}, {"driver", nullptr}});
    CHECK(shop.best().loop);
    fs::remove_all(shop.place.path() / ENGINES);
    const std::string damaged = shop.engine();
    std::ofstream(shop.place.path() / ENGINES / damaged / "prior.engine") << "tampered";
    CHECK(shop.refusal().find("is passed over: prior.engine is damaged (SHA-256 ") != std::string::npos);
    fs::rename(shop.place.path() / ENGINES / damaged, shop.place.path() / ENGINES / "tensorrt_0000000000");
    CHECK(shop.refusal().find("record.json is damaged (its key is not that of the folder's name)") != std::string::npos);
    std::ofstream(shop.place.path() / ENGINES / "tensorrt_0000000000" / "record.json") << R"({"format_version": 2})";
    CHECK(shop.refusal().find("has format version 2, this runtime reads version 1: upgrade shadowdiffusion") != std::string::npos);
    for (const char* raw : {"", "[", "{}", R"({"format_version": 1})", R"({"format_version": 1, "key": {"device": 3}})"}) {
        std::ofstream(shop.place.path() / ENGINES / "tensorrt_0000000000" / "record.json") << raw;
        CHECK(shop.refusal().find("record.json is not the record of an engine: ") != std::string::npos);
    }
}

TEST_CASE("photos outside the profile go to the bundle's own graphs") {
    const Fresh fresh;
    Shop shop;
    shop.engine();
    EngineLoop found = shop.best();
    shop.said.clear();
    const auto others = [&] { return std::make_unique<HostLoop>(shop.bundle, fake_device_networks(shop.bundle, {}), shop.workers); };
    WithinProfile loop(std::move(found.loop), shop.bundle, found.key, others,
                       [&](const std::string& line) { shop.said.push_back(line); });
    Arena arena;
    for (const Size& size : {Size{40, 72}, Size{60, 90}, Size{60, 90}}) {
        const std::vector<float> image(3 * size.first * size.second, 0.5f);
        const Working restored = loop.restore({image, 3, size.first, size.second}, {}, {shop.bundle.table(2), 1}, arena);
        CHECK(restored.image.size() == size);
    }
    const std::vector<float> image(3 * 40 * 72, 0.5f);
    const std::vector<WorkingImage> several(3, {{image, 3, 40, 72}, {}});
    CHECK(loop.restore_many(several, {shop.bundle.table(2), 1}, arena).size() == 3);
    CHECK(shop.said == std::vector<std::string>{
                           text("96x64 pixels are outside the profile 16x16:32x48:48x80 (height x width) of networks on an imaginary "
                                "GPU: using networks on an imaginary GPU")});
}
