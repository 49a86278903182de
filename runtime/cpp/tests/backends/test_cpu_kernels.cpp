// Graphs by our CPU kernels as far as an engine has plans: networks that copy, beside others that note what they are asked for.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu_kernels.h"
#include "cpu/plan_file.h"
#include "errors.h"
#include "temporary.h"

using namespace shadowdiffusion;
using nlohmann::json;

namespace {

using Strings = std::vector<std::string>;

// What the others are asked for; the mask head of theirs gives 7.
struct Notes {
    Strings lines;
    std::mutex mutex;
    void add(std::string line) {
        const std::lock_guard lock(mutex);
        lines.push_back(std::move(line));
    }
};

class OtherGraphs final : public Graphs {
  public:
    explicit OtherGraphs(Notes& notes) : notes_(notes) { notes_.add("open"); }
    const std::string& title() const override { return title_; }
    void prefetch(std::string_view name) override { notes_.add("prefetch " + std::string(name)); }
    void run(std::string_view name, std::span<const Input>, std::span<const Output> outputs) override {
        notes_.add("run " + std::string(name));
        std::fill_n(outputs[0].data, outputs[0].values(), 7.0f);
    }
    void run_chain(std::string_view, std::span<const Input>, std::span<const Output>, std::string_view, std::string_view,
                   const Output&) override {
        FAIL("the engine has the first of the chain");
    }

  private:
    Notes& notes_;
    std::string title_ = "others";
};

json port(std::size_t channels) { return {{"channels", channels}, {"shrink", 1}}; }

// Copies an input to each output, by their names; takes the others, too, and a row if it has values.
PlanFile copies(const json& inputs, const json& outputs, const std::vector<std::pair<std::string, std::string>>& from, int row = 0) {
    PlanFile file = copying_plan();
    file.plan.update({{"inputs", inputs}, {"outputs", outputs}, {"row", row}, {"maps", json::array()}, {"steps", json::array()}});
    for (const auto& [input, output] : from) {
        const json whole = {file.plan["maps"].size(), 0, 16};
        file.plan["maps"].push_back(port(16));
        file.plan["steps"].push_back({{"gather", {{"inputs", {input}}, {"patch", 1}, {"to", whole}}}});
        file.plan["steps"].push_back({{"scatter", {{"from", whole}, {"patch", 1}, {"squashed", false}, {"output", output}}}});
    }
    return file;
}

// An engine whose denoiser predicts its state, and has the photo for features; its mask head, if it is there, takes the first
// channel of them.
class Fixture {
  public:
    explicit Fixture(bool has_head = true, std::size_t noise_channels = 3) {
        for (const auto name : {PRIOR, DENOISER, MASK_HEAD, ROWS}) bundle.manifest.files[std::string(name)] = {};
        engine.path = folder_.path();
        write(DENOISER, copies({{"image", port(3)}, {"mask", port(1)}, {"x_t", port(noise_channels)}},
                               {{"noise", port(noise_channels)}, {"features", port(3)}}, {{"x_t", "noise"}, {"image", "features"}}, 2));
        if (has_head) write(MASK_HEAD, copies({{"features", port(3)}}, {{"shadow", port(1)}}, {{"features", "shadow"}}));
        graphs = cpu_kernel_graphs(bundle, engine, [this] { return std::make_unique<OtherGraphs>(notes); }, workers_);
    }

    // Runs the denoiser, and the mask head after it; whether all comes out as it should. The photo is `light` throughout.
    bool denoises(std::size_t height, std::size_t width, float light, float expected_shadow) const {
        const std::size_t area = height * width;
        const std::vector<float> image(3 * area, light), mask(area), x_t(3 * area, -light), row(2);
        std::vector<float> noise(3 * area), shadow(area);
        const std::array inputs = {Input{"image", {1, 3, height, width}, 4, image.data()},
                                   Input{"mask", {1, 1, height, width}, 4, mask.data()},
                                   Input{"x_t", {1, 3, height, width}, 4, x_t.data()}, Input{"row", {1, 2}, 2, row.data()}};
        const Output found{"noise", {1, 3, height, width}, 4, noise.data()};
        graphs->run_chain(DENOISER, inputs, std::array{found}, "features", MASK_HEAD, {"shadow", {1, 1, height, width}, 4, shadow.data()});
        return noise == x_t && shadow == std::vector<float>(area, expected_shadow);
    }

    Bundle bundle;
    StoredEngine engine;
    Notes notes;
    std::unique_ptr<Graphs> graphs;

  private:
    void write(std::string_view name, const PlanFile& plan) {
        const std::string file = std::string(name) + ".plan";
        const auto bytes = plan.bytes();
        std::ofstream(folder_.path() / file, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        engine.networks[std::string(name)] = file;
    }

    TemporaryFolder folder_;
    Workers workers_{2};
};

}  // namespace

TEST_CASE("with an engine of CPU kernels, others are opened once, when a graph without a plan is first asked for") {
    const Fixture fixture;
    fixture.graphs->prefetch(DENOISER);
    CHECK(fixture.denoises(8, 12, 0.5f, 0.5f));
    CHECK(fixture.notes.lines.empty());
    fixture.graphs->prefetch(PRIOR);
    std::vector<float> clean(12);
    fixture.graphs->run(PRIOR, {}, std::array{Output{"clean", {1, 3, 2, 2}, 4, clean.data()}});
    CHECK(fixture.notes.lines == Strings{"open", "prefetch prior.onnx", "run prior.onnx"});
}

TEST_CASE("with an engine of CPU kernels, masks are those of the photo they are asked for, of whatever size and thread") {
    const Fixture fixture;
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (std::size_t i = 1; i <= 3; ++i)
        threads.emplace_back([&, i] {
            for (std::size_t round = 0; round < 8; ++round)
                right += fixture.denoises(4 * i, 8 * (1 + round % 3), static_cast<float>(i), static_cast<float>(i));
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 24);
}

TEST_CASE("a mask head of which the engine has no plan is run by others, after the engine's denoiser") {
    const Fixture fixture(false);
    CHECK(fixture.denoises(4, 4, 0.5f, 7));
    CHECK(fixture.notes.lines == Strings{"open", "run mask_head.onnx"});
}

TEST_CASE("where nothing else runs networks, a graph without a plan is refused in words, and the others run") {
    Fixture fixture;
    Workers workers(1);
    fixture.graphs = cpu_kernel_graphs(fixture.bundle, fixture.engine, nullptr, workers);
    CHECK(fixture.denoises(4, 4, 0.5f, 0.5f));
    CHECK_THROWS_WITH_AS(fixture.graphs->prefetch(PRIOR),
                         doctest::Contains(" has no plan of prior.onnx, and nothing else that runs networks was built in"), RestoreError);
}

TEST_CASE("plans that are not of the bundle's networks are refused, before they write anywhere") {
    const Fixture other(true, 4);
    CHECK_THROWS_WITH_AS(other.denoises(4, 4, 0.5f, 0.5f), "the plan of denoiser.onnx has 4 channels of x_t, not 3", BundleError);
    Fixture swapped;
    std::swap(swapped.engine.networks.find(DENOISER)->second, swapped.engine.networks.find(MASK_HEAD)->second);
    Workers workers(1);
    swapped.graphs = cpu_kernel_graphs(swapped.bundle, swapped.engine, nullptr, workers);
    CHECK_THROWS_AS(swapped.denoises(4, 4, 0.5f, 0.5f), BundleError);
}
