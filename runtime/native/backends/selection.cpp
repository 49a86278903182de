#include "backends/selection.h"

#include <algorithm>
#include <span>

#include "backends/graph_networks.h"
#include "engines/cpu_engine.h"
#include "errors.h"
#include "loop/host_loop.h"
#include "text.h"
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
#include "backends/openvino.h"
#endif
#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
#include "backends/onnxruntime.h"
#include "backends/onnxruntime_device.h"
#include "backends/onnxruntime_library.h"
#include "engines/whole_loop.h"
#endif
#ifdef SHADOWDIFFUSION_WITH_TENSORRT
#include "backends/tensorrt.h"
#include "engines/engine_loop.h"
#include "engines/within_profile.h"
#endif

namespace shadowdiffusion {

namespace {

constexpr const char* NO_ENGINES = "the bundle has no engines of those that are built in (python -m export build-engine makes them)";

// What is needed to open a backend.
struct Opening {
    const Bundle& bundle;
    const LoadOptions& options;
    Workers& workers;
};

// A way to restore, by the name of its backend; `open` gives null where there is nothing to open, and nothing to say.
struct Candidate {
    std::string_view name;
    std::unique_ptr<Loop> (*open)(const Opening&) = nullptr;
    // Instead, where it is portable: the bundle's own graphs on the CPU, for any size.
    std::unique_ptr<Graphs> (*graphs)(const Bundle&, unsigned threads) = nullptr;
};

#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
// Whether there is a GPU and an ONNX Runtime that can use it: where there is not, nothing need be said.
bool may_use_cuda() {
    try {
        return Cuda().gpu().sm > 0 && onnxruntime_has_cuda();
    } catch (const RestoreError&) {
        return false;
    }
}

// The bundle's own graphs on a GPU, as far as can be with the whole loop.
std::unique_ptr<Loop> open_onnxruntime_cuda(const Opening& opening) {
    const Bundle& bundle = opening.bundle;
    if (opening.options.backend == "auto" && !may_use_cuda()) return nullptr;
    const auto networks = onnxruntime_on_device(bundle, opening.options.threads);
    std::string digest = onnxruntime_version();
    for (const auto& [name, sum] : network_digests(bundle)) digest += sum;
    return whole_loop(bundle, networks, {networks->title(), digest}, {}, opening.options.say, opening.workers);
}
#endif

std::unique_ptr<Graphs> portable_graphs(const Bundle& bundle, LoadOptions options);
bool runs_graphs();

// The engine of our CPU kernels, if the bundle has one.
std::unique_ptr<Loop> open_cpu_kernels(const Opening& opening) {
    const LoadOptions& options = opening.options;
    std::function<std::unique_ptr<Graphs>()> portable;
    if (runs_graphs()) portable = [&bundle = opening.bundle, options] { return portable_graphs(bundle, options); };
    return cpu_engine(opening.bundle, portable, options.say, opening.workers);
}

// The bundle's own graphs, whose opening has begun.
std::unique_ptr<Loop> loop_of(std::unique_ptr<Graphs> graphs, const Bundle& bundle, Workers& workers) {
    auto networks = std::make_unique<GraphNetworks>(bundle, std::move(graphs));
    networks->prefetch();
    return std::make_unique<HostLoop>(bundle, std::move(networks), workers);
}

#ifdef SHADOWDIFFUSION_WITH_TENSORRT
// The best engine of the bundle, and, unless it was asked for by name, the bundle's own graphs for sizes that it does not
// take.
std::unique_ptr<Loop> open_tensorrt(const Opening& opening) {
    const Bundle& bundle = opening.bundle;
    Workers& workers = opening.workers;
    const bool named = opening.options.backend != "auto";
    if (!named && engine_folders(bundle).empty()) return nullptr;
    const LoadOptions options = opening.options;
    const auto portable = [&bundle, &workers, options] {
        return loop_of(portable_graphs(bundle, options), bundle, workers);
    };
    EngineLoop found = best_engine(bundle, tensorrt_backend(), portable, options.say, workers);
    if (named) return std::move(found.loop);
    return std::make_unique<WithinProfile>(std::move(found.loop), bundle, std::move(found.key), portable, options.say);
}
#endif

const std::vector<Candidate> CANDIDATES = {
#ifdef SHADOWDIFFUSION_WITH_TENSORRT
    {TENSORRT_NAME, open_tensorrt},
#endif
#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
    {"onnxruntime-cuda", open_onnxruntime_cuda},
#endif
    {CPU_KERNELS_NAME, open_cpu_kernels},
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
    {"openvino", nullptr, openvino_graphs},
#endif
#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
    {"onnxruntime", nullptr, onnxruntime_graphs},
#endif
};

// What `open` makes of the candidate that was named, else of the first of which it makes anything.
template <class Open>
auto first_of(std::span<const Candidate> candidates, const LoadOptions& options, const Open& open) {
    std::string reasons;
    for (const Candidate& candidate : candidates) {
        if (options.backend != "auto" && options.backend != candidate.name) continue;
        try {
            if (auto made = open(candidate)) return made;
        } catch (const RestoreError& error) {
            if (options.backend != "auto") throw;
            options.say(text("backend ", candidate.name, " is passed over: ", error.what()));
            reasons += (reasons.empty() ? "" : "; ") + std::string(error.what());
        }
    }
    throw RestoreError(text("no backend can be used: ", reasons.empty() ? NO_ENGINES : reasons));
}

// Whether anything was built in that runs the bundle's own graphs.
bool runs_graphs() {
    return std::ranges::any_of(CANDIDATES, [](const Candidate& candidate) { return bool(candidate.graphs); });
}

std::unique_ptr<Graphs> portable_graphs(const Bundle& bundle, LoadOptions options) {
    options.backend = "auto";
    return first_of(CANDIDATES, options, [&](const Candidate& candidate) {
        return candidate.graphs ? candidate.graphs(bundle, options.threads) : nullptr;
    });
}

}  // namespace

std::vector<std::string> backends() {
    std::vector<std::string> names;
    for (const Candidate& candidate : CANDIDATES) names.emplace_back(candidate.name);
    return names;
}

void check_backend(const std::string& name) {
    const std::vector<std::string> known = backends();
    if (name == "auto" || std::ranges::find(known, name) != known.end()) return;
    std::string names = "auto";
    for (const std::string& one : known) names += ", " + one;
    throw RestoreError(text("backend '", name, "' is unknown here: choose one of ", names));
}

std::unique_ptr<Loop> choose(const Bundle& bundle, const LoadOptions& options, Workers& workers) {
    check_backend(options.backend);
    return first_of(CANDIDATES, options, [&](const Candidate& candidate) {
        if (candidate.graphs) return loop_of(candidate.graphs(bundle, options.threads), bundle, workers);
        return candidate.open({bundle, options, workers});
    });
}

}  // namespace shadowdiffusion
