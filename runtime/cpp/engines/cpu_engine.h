// Engines of our CPU kernels: the denoiser, and what else has a plan, by them, everything else as the bundle's own graphs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backends/graph_networks.h"
#include "bundle/bundle.h"
#include "loop/loop.h"
#include "workers.h"

namespace shadowdiffusion {

inline constexpr std::string_view CPU_KERNELS_NAME = "cpu-kernels";

// The loop of the bundle's engine of CPU kernels, null where it has none. Throws RestoreError with the reason where it has
// one that cannot be used. portable: opens the bundle's own graphs, for what has no plan, when first needed; empty where nothing
// was built in that runs them. `say` hears of a check that is made now. bundle and workers must outlive the loop.
std::unique_ptr<Loop> cpu_engine(const Bundle& bundle, const std::function<std::unique_ptr<Graphs>()>& portable,
                                 const std::function<void(const std::string&)>& say, Workers& workers);

}  // namespace shadowdiffusion
