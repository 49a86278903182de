#include "backends/selection.h"

#include <algorithm>

#include "backends/graph_networks.h"
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

// What is needed to open a backend.
struct Opening {
    const Bundle& bundle;
    const LoadOptions& options;
    Workers& workers;
};

// A way to restore, by the name of its backend.
struct Candidate {
    std::string_view name;
    std::unique_ptr<Loop> (*open)(const Opening&);
};

// The bundle's own graphs, whose opening has begun.
std::unique_ptr<Loop> portable(const Opening& opening, std::unique_ptr<Graphs> graphs) {
    auto networks = std::make_unique<GraphNetworks>(opening.bundle, std::move(graphs));
    networks->prefetch();
    return std::make_unique<HostLoop>(opening.bundle, std::move(networks), opening.workers);
}

#ifdef SHADOWDIFFUSION_WITH_OPENVINO
std::unique_ptr<Loop> open_openvino(const Opening& opening) {
    return portable(opening, openvino_graphs(opening.bundle, opening.options.threads));
}
#endif

#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
std::unique_ptr<Loop> open_onnxruntime(const Opening& opening) {
    OnnxRuntimeSettings settings;
    settings.threads = static_cast<int>(opening.options.threads);
    return portable(opening, onnxruntime_graphs(opening.bundle, std::move(settings)));
}
#endif

const std::vector<Candidate> CANDIDATES = {
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
    {"openvino", open_openvino},
#endif
#ifdef SHADOWDIFFUSION_WITH_ONNXRUNTIME
    {"onnxruntime", open_onnxruntime},
#endif
};

}  // namespace

std::vector<std::string> backends() {
    std::vector<std::string> names;
    for (const Candidate& candidate : CANDIDATES) names.emplace_back(candidate.name);
    return names;
}

void check_backend(const std::string& name) {
    const std::vector<std::string> known = backends();
    if (known.empty())
        throw RestoreError("nothing that runs networks was built in: build with OpenVINO or ONNX Runtime");
    if (name == "auto" || std::ranges::find(known, name) != known.end()) return;
    std::string names = "auto";
    for (const std::string& one : known) names += ", " + one;
    throw RestoreError(text("backend '", name, "' is unknown here: choose one of ", names));
}

std::unique_ptr<Loop> choose(const Bundle& bundle, const LoadOptions& options, Workers& workers) {
    check_backend(options.backend);
    const Opening opening{bundle, options, workers};
    std::string reasons;
    for (const Candidate& candidate : CANDIDATES) {
        if (options.backend != "auto" && options.backend != candidate.name) continue;
        try {
            return candidate.open(opening);
        } catch (const RestoreError& error) {
            if (options.backend != "auto") throw;
            options.say(text("backend ", candidate.name, " is passed over: ", error.what()));
            reasons += (reasons.empty() ? "" : "; ") + std::string(error.what());
        }
    }
    throw RestoreError(text("no backend can be used: ", reasons));
}

}  // namespace shadowdiffusion
