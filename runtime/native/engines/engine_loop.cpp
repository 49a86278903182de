#include "engines/engine_loop.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <vector>

#include "engines/fit.h"
#include "engines/golden_check.h"
#include "engines/whole_loop.h"
#include "errors.h"
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
            if (engine.key.provider) continue;  // of the Python runtime, or for the CPU
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
            const std::shared_ptr<DeviceNetworks> networks = backend.open(bundle, engine);
            const Checked checked{text("engine ", engine.name()), engine.digest};
            const auto check = [&] {
                const auto truth = portable();
                return golden_psnr(bundle, engine, *networks, *truth, workers);
            };
            const Verdict verdict = verdict_of(checked, gpu.title(), "networks", least_psnr(engine), check, say);
            if (const auto failure = verdict.failure()) {
                pass_over(text("engine ", engine.name(), " is quarantined, the next in line is used: ", *failure,
                               " (python -m export build-engine builds it again)"));
                continue;
            }
            for (const std::string& reason : reasons) say(reason);
            return {whole_loop(bundle, networks, checked, engine.key, say, workers), engine.key};
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
