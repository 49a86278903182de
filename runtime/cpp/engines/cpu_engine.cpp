#include "engines/cpu_engine.h"

#include <optional>

#include "backends/cpu_kernels.h"
#include "cpu/plan.h"
#include "engines/golden_check.h"
#include "engines/store.h"
#include "errors.h"
#include "loop/host_loop.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// Why the engine is not for this runtime or bundle, or nothing. alone: nothing else runs networks.
std::optional<std::string> misfit(const StoredEngine& engine, const Bundle& bundle, bool alone) {
    if (engine.key.backend_version != cpu_kernels_version())
        return text("backend version is ", engine.key.backend_version, ", not ", cpu_kernels_version());
    if (engine.key.onnx != network_digests(bundle)) return "the bundle's networks changed since";
    if (!engine.networks.contains(DENOISER)) return "it has no denoiser";
    for (const std::string_view name : {PRIOR, MASK_HEAD})
        if (alone && bundle.manifest.files.contains(std::string(name)) && !engine.networks.contains(name))
            return text("it has no plan of ", name, ", and nothing else that runs networks was built in");
    return engine.damage();
}

}  // namespace

std::unique_ptr<Loop> cpu_engine(const Bundle& bundle, const std::function<std::unique_ptr<Graphs>()>& portable,
                                 const std::function<void(const std::string&)>& say, Workers& workers) {
    std::string reasons;
    for (const auto& folder : engine_folders(bundle)) {
        const std::string name = folder.filename().string();
        try {
            const StoredEngine engine = read_engine(folder);
            if (engine.key.backend != CPU_KERNELS_NAME) continue;
            if (const auto why = misfit(engine, bundle, !portable)) throw RestoreError(*why);
            auto networks = std::make_unique<GraphNetworks>(bundle, cpu_kernel_graphs(bundle, engine, portable, workers));
            networks->prefetch();
            const auto check = [&] {
                if (!portable) return golden_psnr(bundle, *networks, workers);
                GraphNetworks truth(bundle, portable());
                return golden_psnr(bundle, engine, *networks, truth, workers);
            };
            const Verdict verdict = verdict_of({networks->title(), engine.digest}, "CPU", portable ? "networks" : "networks alone",
                                               least_psnr(engine), check, say);
            if (const auto failure = verdict.failure())
                throw RestoreError(*failure + " (shadowdiffusion export build-engine builds it again)");
            return std::make_unique<HostLoop>(bundle, std::move(networks), workers);
        } catch (const RestoreError& error) {
            reasons += text(reasons.empty() ? "" : "; ", "engine ", name, ": ", error.what());
        }
    }
    if (reasons.empty()) return nullptr;
    throw RestoreError(reasons);
}

}  // namespace shadowdiffusion
