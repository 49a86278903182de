#include "engines/engine_loop.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "bundle/golden_example.h"
#include "engines/fit.h"
#include "engines/golden_check.h"
#include "errors.h"
#include "gpu/device_loop.h"
#include "loop/host_loop.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

using Say = std::function<void(const std::string&)>;

// Smaller is better: sizes that are covered, measured time, precision.
auto rank(const StoredEngine& engine, const ModelInfo& model) {
    static constexpr std::array<std::string_view, 5> FASTEST = {"fp8", "int8", "fp16", "bf16", "fp32"};
    const auto precision = std::ranges::find(FASTEST, engine.key.precision) - FASTEST.begin();
    return std::tuple(!covers_photos(engine.key, model), engine.latency, precision, engine.name());
}

// Networks of an engine, which they need all along.
struct Opened {
    StoredEngine engine;
    std::shared_ptr<DeviceNetworks> networks;
};

// The steps between networks on the CPU.
class OnHost final : public Loop {
  public:
    OnHost(const Bundle& bundle, std::shared_ptr<DeviceNetworks> networks, Workers& workers)
        : networks_(std::move(networks)), loop_(bundle, *networks_, workers) {}
    Networks& networks() override { return *networks_; }
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override {
        return loop_.restore(image, mask, wanted, arena);
    }

  private:
    std::shared_ptr<DeviceNetworks> networks_;
    HostLoop loop_;
};

// The kernels of a bundle in a word that changes with them.
std::string kernels_of(const Bundle& bundle) {
    std::string found;
    for (const Kernel& kernel : bundle.manifest.kernels)
        for (const KernelBuild& build : kernel.builds)
            if (const auto file = bundle.manifest.files.find(build.file); file != bundle.manifest.files.end())
                found += file->second.sha256;
    return found;
}

// All of the loop on the GPU, if the bundle has kernels for it that prove right with these networks.
std::unique_ptr<Loop> whole_loop(const Bundle& bundle, const Opened& opened, const std::string& device, const Say& say,
                                 Workers& workers) {
    try {
        auto loop = std::make_unique<DeviceLoop>(bundle, opened.networks, say);
        const Verdict verdict = verdict_of(
            opened.engine, device, "kernels " + kernels_of(bundle), GOLDEN_TOLERANCE,
            [&] { return loop_psnr(bundle, opened.engine, opened.networks, workers); }, say);
        if (const auto failure = verdict.failure()) throw RestoreError(*failure);
        return loop;
    } catch (const RestoreError& error) {
        say(text("engine ", opened.engine.name(), " leaves the steps between its networks to the CPU: ", error.what()));
        return std::make_unique<OnHost>(bundle, opened.networks, workers);
    }
}

}  // namespace

EngineLoop best_engine(const Bundle& bundle, const EngineBackend& backend, const std::function<std::unique_ptr<Loop>()>& portable,
                       const Say& say, Workers& workers) {
    std::vector<std::string> reasons;
    const auto pass_over = [&](std::string line) { reasons.push_back(std::move(line)); };
    const Gpu gpu = Cuda().gpu();
    std::vector<StoredEngine> fitting;
    for (const auto& folder : engine_folders(bundle)) {
        const std::string name = folder.filename().string();
        try {
            StoredEngine engine = read_engine(folder);
            if (engine.key.backend == "onnxruntime") continue;  // of the Python runtime
            if (const auto why = misfit(engine.key, bundle, gpu, backend))
                pass_over(text("engine ", name, " is passed over: ", *why));
            else
                fitting.push_back(std::move(engine));
        } catch (const BundleError& error) {
            pass_over(text("engine ", name, " is passed over: ", error.what()));
        }
    }
    const ModelInfo& model = bundle.manifest.model;
    std::ranges::sort(fitting, {}, [&](const StoredEngine& engine) { return rank(engine, model); });
    for (const StoredEngine& engine : fitting) {
        try {
            if (const auto problem = engine.damage()) throw BundleError(*problem);
            const Opened opened{engine, backend.open(bundle, engine)};
            const auto check = [&] {
                const auto truth = portable();
                return golden_psnr(bundle, engine, *opened.networks, *truth, workers);
            };
            const Verdict verdict = verdict_of(engine, gpu.title(), "networks", least_psnr(engine), check, say);
            if (const auto failure = verdict.failure()) {
                pass_over(text("engine ", engine.name(), " is quarantined, the next in line is used: ", *failure,
                               " (python -m export build-engine builds it again)"));
                continue;
            }
            for (const std::string& reason : reasons) say(reason);
            return {whole_loop(bundle, opened, gpu.title(), say, workers), engine.key};
        } catch (const RestoreError& error) {
            pass_over(text("engine ", engine.name(), " is passed over: ", error.what()));
        }
    }
    std::string why;
    for (const std::string& reason : reasons) why += (why.empty() ? "" : "; ") + reason;
    if (why.empty()) why = text("the bundle has none: python -m export build-engine --backend ", backend.name);
    throw RestoreError(text("no engine of ", backend.title, " can be used: ", why));
}

}  // namespace shadowdiffusion
