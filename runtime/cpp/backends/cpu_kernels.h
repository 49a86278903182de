// The graphs of a bundle, run by our CPU kernels as far as an engine has plans of them.
#pragma once

#include <functional>
#include <memory>

#include "backends/graph_networks.h"
#include "bundle/bundle.h"
#include "engines/store.h"
#include "workers.h"

namespace shadowdiffusion {

// others: opens what runs the graphs of which the engine has no plan, when the first of them is asked for; empty: nothing does.
// bundle and workers must outlive it.
std::unique_ptr<Graphs> cpu_kernel_graphs(const Bundle& bundle, const StoredEngine& engine,
                                          std::function<std::unique_ptr<Graphs>()> others, Workers& workers);

}  // namespace shadowdiffusion
