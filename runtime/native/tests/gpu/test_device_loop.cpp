// The complete loop on the fake GPU. The loop on the CPU around the same networks says what the results should be.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

#include "bundle/golden_example.h"
#include "errors.h"
#include "gpu/device_loop.h"
#include "gpu/fake_device_networks.h"
#include "gpu/fake_driver.h"
#include "gpu/records.h"
#include "loop/host_loop.h"
#include "loop/native_loop.h"

using namespace shadowdiffusion;

namespace {

// A bundle, the loop on the GPU and the one on the CPU, around the same networks.
struct Setting {
    explicit Setting(const DeviceCase& of = {}, const DeviceTraits& traits = {})
        : bundle(device_bundle(place, of)), networks(fake_device_networks(bundle, traits)), cpu(bundle, *networks, workers),
          gpu(bundle, networks, [this](const std::string& line) { said.push_back(line); }) {}

    TemporaryFolder place;
    Bundle bundle;
    std::shared_ptr<DeviceNetworks> networks;
    std::vector<std::string> said;
    Workers workers{2};
    Arena arena;
    HostLoop cpu;
    DeviceLoop gpu;
};

// Gives the driver back as it was, when everything on it is gone.
struct Fresh {
    ~Fresh() { fake_driver().reset(); }
};

struct Photo {
    explicit Photo(Size of = {13, 21}, unsigned seed = 0) : size(of) {
        std::mt19937 random(seed);
        std::uniform_real_distribution<float> uniform;
        for (std::size_t i = 0; i < 3 * size.first * size.second; ++i) image.push_back(uniform(random));
        for (std::size_t i = 0; i < size.first * size.second; ++i) mask.push_back(uniform(random) > 0.4f ? 1.0f : 0.0f);
    }
    ConstPlanes planes() const { return {image, 3, size.first, size.second}; }
    ConstPlanes mask_planes() const { return {mask, 1, size.first, size.second}; }
    Size size;
    std::vector<float> image, mask;
};

std::vector<std::span<const float>> parts(const Working& of) {
    std::vector<std::span<const float>> all = {of.image.values, of.clean.values, of.illumination.values};
    if (!of.mask.absent()) all.emplace_back(of.mask.values);
    return all;
}

// The worst PSNR in dB of all results.
double distance(const Working& found, const Working& expected) {
    REQUIRE(parts(found).size() == parts(expected).size());
    double least = 200;
    for (std::size_t i = 0; i < parts(expected).size(); ++i) {
        const double reached = psnr(parts(found)[i], parts(expected)[i]);
        least = std::isnan(reached) ? -1 : std::min(least, reached);
    }
    return least;
}

bool same(const Working& one, const Working& other) {
    for (std::size_t i = 0; i < parts(one).size(); ++i)
        if (std::memcmp(parts(one)[i].data(), parts(other)[i].data(), parts(one)[i].size_bytes()) != 0) return false;
    return true;
}

std::string refusal(const std::function<void()>& work) {
    try {
        work();
        return "";
    } catch (const RestoreError& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("the results are those of the loop on the CPU, in single launches, when captured, and as a graph again") {
    const Fresh fresh;
    const DeviceCase plain{};
    const auto with = [&](const auto& change) {
        DeviceCase of = plain;
        change(of);
        return of;
    };
    struct Case {
        const char* name;
        DeviceCase of;
        DeviceTraits traits = {};
    };
    DeviceTraits floats, halves;
    floats.packed = "FLOAT", halves.packed = "HALF";
    const std::vector<Case> cases = {
        {"plain", plain},
        {"rows", with([](DeviceCase& c) { c.policy = MaskPolicy::late, c.rows = true; })},
        {"predicted", with([](DeviceCase& c) { c.policy = MaskPolicy::predicted, c.noisy = true; })},
        {"closed form", with([](DeviceCase& c) { c.policy = MaskPolicy::closed_form, c.growing_rho = true; })},
        {"late", with([](DeviceCase& c) { c.policy = MaskPolicy::late, c.noisy = c.clamp = true; })},
        {"no data consistency", with([](DeviceCase& c) { c.consistent = false; })},
        {"noise only", with([](DeviceCase& c) { c.consistent = false, c.noisy = c.clamp = true; })},
        {"growing rho", with([](DeviceCase& c) { c.growing_rho = c.noisy = true; })},
        {"from the prior", with([](DeviceCase& c) { c.from_prior = true; })},
        {"from the prior with noise", with([](DeviceCase& c) { c.from_prior = c.noisy = c.rows = true; })},
        {"head inside", with([](DeviceCase& c) { c.policy = MaskPolicy::predicted, c.has_head = false; })},
        {"packed", with([](DeviceCase& c) { c.policy = MaskPolicy::closed_form, c.noisy = true; }), floats},
        {"packed from the prior", with([](DeviceCase& c) { c.from_prior = c.growing_rho = c.rows = true; }), floats},
        {"packed halves", with([](DeviceCase& c) { c.policy = MaskPolicy::late, c.noisy = true; }), halves},
        {"packed halves, free", with([](DeviceCase& c) { c.consistent = false, c.from_prior = true; }), halves},
    };
    for (const Case& one : cases) {
        CAPTURE(one.name);
        Setting setting(one.of, one.traits);
        const Photo photo;
        // what enters the network as halves is rounded from numbers that differ in the last bit
        const double least = one.traits.packed == "HALF" ? 80 : 120;
        const Wanted wanted{setting.bundle.table(5), 7, true};
        const Working expected = setting.cpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        const Working single = setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        const int graphs_before = static_cast<int>(fake_driver().graphs.size());
        const Working captured = setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        const Working again = setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        CHECK(graphs_before == 0);
        CHECK(fake_driver().graphs.size() == 1);
        CHECK(distance(single, expected) >= least);
        CHECK(same(single, captured));
        CHECK(same(single, again));
        CHECK(single.prior_seconds > 0);
        CHECK(captured.prior_seconds == 0);
        const Wanted blind{setting.bundle.table(2), std::uint64_t{1} << 63, false};
        CHECK(distance(setting.gpu.restore(photo.planes(), {}, blind, setting.arena),
                       setting.cpu.restore(photo.planes(), {}, blind, setting.arena)) >= least);
        CHECK(!setting.gpu.without_graphs());
        CHECK(setting.said.empty());
    }
}

TEST_CASE("a graph takes another photo, mask and seed, and few calls whatever the number of steps") {
    const Fresh fresh;
    Setting setting;
    const Wanted first{setting.bundle.table(5), 1, true}, second{setting.bundle.table(5), 2, true};
    const Photo one, other({15, 24}, 3);
    for (int i = 0; i < 2; ++i) setting.gpu.restore(one.planes(), one.mask_planes(), first, setting.arena);
    fake_driver().calls.clear();
    const Working found = setting.gpu.restore(other.planes(), other.mask_planes(), second, setting.arena);
    CHECK(fake_driver().calls.size() <= 12);
    CHECK(std::ranges::count(fake_driver().calls, "cuGraphLaunch") == 1);
    CHECK(distance(found, setting.cpu.restore(other.planes(), other.mask_planes(), second, setting.arena)) >= 120);
}

TEST_CASE("a batch is its photos one by one, bit for bit") {
    const Fresh fresh;
    struct Case {
        const char* name;
        MaskPolicy policy;
        bool blind, rows, has_head;
        const char* packed;
    };
    for (const Case& one : {Case{"closed form", MaskPolicy::closed_form, false, false, true, ""},
                            Case{"blind", MaskPolicy::predicted, true, true, true, ""},
                            Case{"head inside", MaskPolicy::late, true, false, false, ""},
                            Case{"packed", MaskPolicy::closed_form, true, false, true, "FLOAT"},
                            Case{"packed halves", MaskPolicy::predicted, false, true, true, "HALF"}}) {
        CAPTURE(one.name);
        DeviceCase of;
        of.policy = one.policy, of.rows = one.rows, of.has_head = one.has_head, of.noisy = of.growing_rho = true;
        DeviceTraits traits;
        traits.packed = one.packed, traits.batch = 2;
        Setting setting(of, traits), alone(of, traits);
        std::vector<Photo> photos;
        for (unsigned i = 0; i < 5; ++i) photos.emplace_back(Size{13, 21}, i);
        std::vector<WorkingImage> images;
        for (const Photo& photo : photos)
            images.push_back({photo.planes(), one.blind ? ConstPlanes{} : photo.mask_planes()});
        const Wanted wanted{setting.bundle.table(5), ~std::uint64_t{0}, true};
        for (int run = 0; run < 2; ++run) {  // two batches of two, of which the second is a graph, and one of one
            const std::vector<Working> found = setting.gpu.restore_many(images, wanted, setting.arena);
            CHECK(fake_driver().graphs.size() == static_cast<std::size_t>(run + 1));
            REQUIRE(found.size() == photos.size());
            for (std::size_t i = 0; i < images.size(); ++i) {
                const auto& [image, mask] = images[i];
                CHECK(!same(found[i], found[(i + 1) % images.size()]));
                CHECK(distance(found[i], alone.cpu.restore(image, mask, wanted, alone.arena)) >= (traits.packed == "HALF" ? 80 : 120));
                DeviceLoop single(alone.bundle, alone.networks, [](const std::string&) {});
                CHECK(same(found[i], single.restore(image, mask, wanted, alone.arena)));
            }
        }
    }
}

TEST_CASE("the next batch goes up while the GPU works") {
    const Fresh fresh;
    DeviceTraits traits;
    traits.batch = 2;
    Setting setting({}, traits);
    const Photo photo;
    const std::vector<WorkingImage> images(6, {photo.planes(), photo.mask_planes()});
    std::vector<int> done;
    const Progress progress = [&](int of, int steps) {
        CHECK(steps == 12);
        done.push_back(of);
        return true;
    };
    const Wanted wanted{setting.bundle.table(2), 7, false, &progress};
    setting.gpu.restore_many(images, wanted, setting.arena);
    fake_driver().calls.clear();
    done.clear();
    const std::vector<Working> found = setting.gpu.restore_many(images, wanted, setting.arena);
    std::string order;
    for (const std::string& call : fake_driver().calls)
        order += call == "cuMemcpyHtoDAsync_v2" ? "up " : call == "cuEventSynchronize" ? "wait " : "";
    CHECK(order == "up up wait up wait wait ");
    CHECK(done == std::vector{4, 8, 12});
    CHECK(found[5].diffusion_seconds > 0);
    CHECK(found[5].diffusion_seconds == found[4].diffusion_seconds);
}

TEST_CASE("a batch that is ended in between, or has a photo at fault, leaves the loop usable") {
    const Fresh fresh;
    DeviceTraits traits;
    traits.batch = 2;
    Setting setting({}, traits);
    const Photo photo;
    const std::vector<WorkingImage> images(4, {photo.planes(), photo.mask_planes()});
    const Progress stop = [](int, int) { return false; };
    const Wanted wanted{setting.bundle.table(2), 7, false}, stopped{setting.bundle.table(2), 7, false, &stop};
    const std::vector<Working> expected = setting.gpu.restore_many(images, wanted, setting.arena);
    CHECK_THROWS_AS(setting.gpu.restore_many(images, stopped, setting.arena), Cancelled);
    for (const auto& [_, queue] : fake_driver().streams) CHECK(queue.empty());
    CHECK(same(setting.gpu.restore_many(images, wanted, setting.arena)[3], expected[3]));
    traits.broken = true;
    Setting broken({}, traits);
    CHECK(refusal([&] { broken.gpu.restore_many(images, wanted, broken.arena); }) ==
          "networks on an imaginary GPU cannot handle image 2 of 4: the result has values that are not finite");
}

TEST_CASE("a loop that takes one at a time takes several one after the other") {
    const Fresh fresh;
    Setting setting;
    const Photo one, other({13, 21}, 3);
    std::vector<std::pair<int, int>> done;
    const Progress progress = [&](int of, int steps) {
        done.emplace_back(of, steps);
        return true;
    };
    const Wanted wanted{setting.bundle.table(2), 7, true, &progress}, silent{setting.bundle.table(2), 7, true};
    const std::vector<WorkingImage> images = {{one.planes(), {}}, {other.planes(), {}}};
    for (Loop* loop : {static_cast<Loop*>(&setting.cpu), static_cast<Loop*>(&setting.gpu)}) {
        done.clear();
        const std::vector<Working> found = loop->restore_many(images, wanted, setting.arena);
        CHECK(same(found[0], loop->restore(one.planes(), {}, silent, setting.arena)));
        CHECK(same(found[1], loop->restore(other.planes(), {}, silent, setting.arena)));
        CHECK(done.back() == std::pair{4, 4});
    }
}

TEST_CASE("launches are those that docs/gpu-loop.md counts") {
    const Fresh fresh;
    DeviceCase of;
    of.growing_rho = true, of.policy = MaskPolicy::predicted;
    Setting setting(of);
    const Photo photo;
    setting.gpu.restore(photo.planes(), {}, {setting.bundle.table(5), 1, false}, setting.arena);
    const auto& done = fake_driver().done;
    CHECK(done.at(std::string(PRIOR)) == 2);
    CHECK(done.at(std::string(DENOISER)) == 5);
    CHECK(done.at(std::string(MASK_HEAD)) == 4);
    CHECK(done.at("mask_update_fp32") == 4);
    CHECK(done.at("confident_mask_fp32") == 1);
    CHECK(done.at("prior_coefficients_fp32_h") == 1);
    CHECK(done.at("prior_coefficients_fp32") == 4);
    CHECK(done.at("start_state_fp32_signed") == 1);
    CHECK(done.at("prior_step_fp32_state") == 4);
    CHECK(done.at("prior_step_fp32_last") == 1);
    CHECK(done.at("copy") == 2 + 5);
    CHECK(done.at("fill") == 1);
}

TEST_CASE("what is degraded everywhere needs no mask, and a bundle without a prior needs one") {
    const Fresh fresh;
    const Photo photo;
    {
        DeviceCase of;
        of.everywhere = true;
        Setting setting(of);
        const Wanted wanted{setting.bundle.table(2), 1, true};
        const std::vector<float> ones(photo.mask.size(), 1.0f);
        const Working blind = setting.gpu.restore(photo.planes(), {}, wanted, setting.arena);
        const ConstPlanes all{ones, 1, photo.size.first, photo.size.second};
        CHECK(same(blind, setting.gpu.restore(photo.planes(), all, wanted, setting.arena)));
        CHECK(distance(blind, setting.cpu.restore(photo.planes(), {}, wanted, setting.arena)) >= 120);
    }
    DeviceCase of;
    of.has_prior = false, of.consistent = false, of.policy = MaskPolicy::predicted;
    Setting setting(of);
    const Wanted wanted{setting.bundle.table(5), 1, true};
    CHECK(distance(setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena),
                   setting.cpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena)) >= 120);
    CHECK(refusal([&] { setting.gpu.restore(photo.planes(), {}, wanted, setting.arena); }) ==
          "this bundle has no prior network to find the shadow with: give a mask");
}

TEST_CASE("a capture that anything refuses is dropped, with a note, and everything stays in single launches") {
    const Fresh fresh;
    struct Case {
        const char* call;
        CudaResult result;
        DeviceTraits traits;
        std::string why;
    };
    DeviceTraits refusing, silent;
    refusing.refuses_in_capture = true;
    silent.uncapturable = "the denoiser says that it cannot be captured";
    const std::string gpu = "the GPU cannot be used: ", advice = "; use a CPU backend";
    for (const Case& one : std::vector<Case>{
             {"cuLaunchKernel", 900, {}, gpu + "cuLaunchKernel failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" + advice},
             {"cuMemcpyDtoDAsync_v2", 900, {}, gpu + "cuMemcpyDtoDAsync_v2 failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED" + advice},
             {"cuStreamEndCapture", 901, {}, gpu + "cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" + advice},
             {"", 0, refusing, "prior.onnx did not start: it was refused"},
             {"", 0, silent, silent.uncapturable}}) {
        CAPTURE(one.call);
        Setting setting({}, one.traits);
        const Photo photo;
        const Wanted wanted{setting.bundle.table(2), 7, true};
        const Working first = setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        if (one.result) fake_driver().in_capture[one.call] = one.result;
        for (int i = 0; i < 2; ++i)
            CHECK(same(first, setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena)));
        fake_driver().in_capture.clear();
        CHECK(setting.gpu.without_graphs() == one.why);
        CHECK(setting.said == std::vector<std::string>{"networks on an imaginary GPU runs in single launches, without CUDA graphs: " + one.why});
        CHECK(fake_driver().graphs.empty());
        CHECK(!fake_driver().capture);
    }
}

TEST_CASE("a graph that cannot be instantiated is dropped too") {
    const Fresh fresh;
    Setting setting;
    const Photo photo;
    const Wanted wanted{setting.bundle.table(2), 7, false};
    const Working first = setting.gpu.restore(photo.planes(), {}, wanted, setting.arena);
    fake_driver().refused["cuGraphInstantiateWithFlags"] = 700;
    CHECK(same(first, setting.gpu.restore(photo.planes(), {}, wanted, setting.arena)));
    CHECK(setting.said.size() == 1);
    CHECK(fake_driver().graphs.empty());
}

TEST_CASE("memory of four sizes is kept, and given up before anything fails") {
    const Fresh fresh;
    Setting setting;
    const Wanted wanted{setting.bundle.table(2), 7, false};
    std::vector<std::size_t> used;
    for (const std::size_t width : {16u, 24u, 32u, 40u, 48u}) {
        const Photo photo({16, width});
        setting.gpu.restore(photo.planes(), photo.mask_planes(), wanted, setting.arena);
        used.push_back(fake_driver().used());
    }
    CHECK(used[4] - used[3] < used[3] - used[2]);  // the smallest has gone
    const Photo wide({16, 56});
    fake_driver().size = used[4] + 1000;
    const Working found = setting.gpu.restore(wide.planes(), wide.mask_planes(), wanted, setting.arena);
    CHECK(fake_driver().used() < used[4] / 2);  // all others have
    fake_driver().size = std::size_t{1} << 30;
    CHECK(distance(found, setting.cpu.restore(wide.planes(), wide.mask_planes(), wanted, setting.arena)) >= 120);
}

TEST_CASE("memory that runs out is said with the figures, and leaves nothing behind") {
    const Fresh fresh;
    Setting setting;
    const Wanted wanted{setting.bundle.table(2), 7, false};
    const Photo photo;
    const std::size_t before = fake_driver().used();
    fake_driver().size = 20'000;
    const std::string line = refusal([&] { setting.gpu.restore(photo.planes(), {}, wanted, setting.arena); });
    CHECK(line.starts_with("GPU memory ran out (0 MiB are needed, 0 of 0 MiB are free): use a smaller working size"));
    CHECK(fake_driver().used() == before);
    fake_driver().size = std::size_t{1} << 30;
    setting.gpu.restore(photo.planes(), {}, wanted, setting.arena);
}

TEST_CASE("what goes wrong on the way is one line, and the next photo works") {
    const Fresh fresh;
    Setting setting;
    const Wanted wanted{setting.bundle.table(2), 7, false};
    const Photo photo;
    const Working expected = setting.gpu.restore(photo.planes(), {}, wanted, setting.arena);
    for (const char* call : {"cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventSynchronize", "cuStreamWaitEvent", "cuEventRecord", "cuGraphLaunch"}) {
        fake_driver().refused[call] = 700;
        const std::string line = refusal([&] { setting.gpu.restore(photo.planes(), {}, wanted, setting.arena); });
        CHECK(line == std::string("the GPU cannot be used: ") + call + " failed with CUDA_ERROR_ILLEGAL_ADDRESS; use a CPU backend");
        fake_driver().refused.clear();
        CHECK(same(expected, setting.gpu.restore(photo.planes(), {}, wanted, setting.arena)));
    }
    const Photo small({5, 8});
    CHECK(refusal([&] { setting.gpu.restore(small.planes(), {}, wanted, setting.arena); }) == "denoiser.onnx does not take 8x8");
    DeviceTraits traits;
    traits.broken = true;
    Setting broken({}, traits);
    CHECK(refusal([&] { broken.gpu.restore(photo.planes(), {}, wanted, broken.arena); }) ==
          "networks on an imaginary GPU cannot handle this photo: the result has values that are not finite");
    CHECK(refusal([&] { broken.cpu.restore(photo.planes(), {}, wanted, broken.arena); }) ==
          "denoiser.onnx returned values that are not finite: it cannot handle this photo");
}

TEST_CASE("progress comes once, and ends the photo where it says so") {
    const Fresh fresh;
    Setting setting;
    const Photo photo;
    int calls = 0;
    const Progress progress = [&](int done, int steps) {
        CHECK(done == 5);
        CHECK(steps == 5);
        return ++calls == 1;
    };
    const Wanted wanted{setting.bundle.table(5), 7, false, &progress};
    setting.gpu.restore(photo.planes(), {}, wanted, setting.arena);
    CHECK_THROWS_AS(setting.gpu.restore(photo.planes(), {}, wanted, setting.arena), Cancelled);
}

TEST_CASE("a photo larger than the profile is run on tiles, at its own size") {
    const Fresh fresh;
    DeviceTraits traits;
    traits.most = {160, 160};
    Setting setting({}, traits);
    NativeLoop native(setting.bundle, *setting.networks, setting.gpu, setting.workers);
    std::vector<std::string> warned;
    const Warn warn = [&](const std::string& line) { warned.push_back(line); };
    const Photo fits({100, 150}), large({100, 300});
    const Wanted wanted{setting.bundle.table(2), 7, false, nullptr, &warn};
    native.restore(fits.planes(), {}, wanted, setting.arena);
    CHECK(warned.empty());
    native.restore(large.planes(), {}, wanted, setting.arena);
    CHECK(warned.size() == 1);
}

TEST_CASE("kernels and networks that do not fit are refused in a line") {
    const Fresh fresh;
    const TemporaryFolder place;
    const auto opened = [&](const Bundle& bundle, const DeviceTraits& traits = {}) {
        return refusal([&] { DeviceLoop(bundle, fake_device_networks(bundle, traits), [](const std::string&) {}); });
    };
    const std::string advice = "python -m export kernels " + place.path().string() + " --sm 90";
    CHECK(opened(device_bundle(place, {}, 120)) == "the bundle has no kernels for this GPU: " + advice);
    CHECK(opened(device_bundle(place, {}, 90, "start_state")) == "the bundle's kernels lack start_state_fp32_signed: " + advice);
    DeviceTraits halves;
    halves.output = "HALF";
    CHECK(opened(device_bundle(place, {}), halves) ==
          "denoiser.onnx of networks on an imaginary GPU gives noise in HALF, not in FLOAT");
    Bundle odd = device_bundle(place, {});
    odd.manifest.model.multiple = 2;
    CHECK(opened(odd) == "images are padded to multiples of 2 pixels, the kernels take multiples of 4");
    fake_driver().sm = 89;
    CHECK(opened(device_bundle(place, {}, 80)) == "");  // machine code below 9.0 runs on later minor versions
}
