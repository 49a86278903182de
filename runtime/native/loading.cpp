#include "loading.h"

#include <algorithm>

#include "backends/graph_networks.h"
#include "bundle/opening.h"
#include "errors.h"
#include "text.h"
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
#include "backends/openvino.h"
#endif

namespace shadowdiffusion {

namespace {

std::unique_ptr<Graphs> graphs_of(const Bundle& bundle, std::string_view backend, unsigned threads) {
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
    if (backend == "openvino") return openvino_graphs(bundle, threads);
#endif
    static_cast<void>(bundle), static_cast<void>(threads);
    throw RestoreError(text("backend '", backend, "' was not built in"));
}

}  // namespace

std::vector<std::string> backends() {
    return {
#ifdef SHADOWDIFFUSION_WITH_OPENVINO
        "openvino",
#endif
    };
}

std::unique_ptr<Restorer> load(const std::optional<std::filesystem::path>& bundle, const LoadOptions& options) {
    const std::vector<std::string> known = backends();
    if (known.empty()) throw RestoreError("nothing that runs networks was built in: build with OpenVINO");
    const std::string backend = options.backend == "auto" ? known.front() : options.backend;
    if (std::ranges::find(known, backend) == known.end()) {
        std::string names = "auto";
        for (const std::string& name : known) names += ", " + name;
        throw RestoreError(text("backend '", backend, "' is unknown here: choose one of ", names));
    }
    const auto open = [&](const Bundle& opened) -> std::unique_ptr<Networks> {
        auto networks =
            std::make_unique<GraphNetworks>(opened, graphs_of(opened, backend, options.threads));
        networks->prefetch();
        return networks;
    };
    return std::make_unique<Restorer>(load_bundle(bundle), open, options.threads);
}

}  // namespace shadowdiffusion
