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
#endif

namespace shadowdiffusion {

namespace {

constexpr const char* NO_ENGINES = "the bundle has no engines of those that are built in (shadowdiffusion export build-engine makes them)";

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

const std::vector<Candidate> CANDIDATES = {
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
