// The graphs of a bundle, run by OpenVINO on the CPU.
#pragma once

#include <memory>

#include "backends/graph_networks.h"
#include "bundle/bundle.h"

namespace shadowdiffusion {

// In float32 throughout. threads: 0 for OpenVINO's own choice, one per physical core. What OpenVINO compiles is kept in
// the cache folder, so that the next start is quicker. `bundle` must outlive it.
std::unique_ptr<Graphs> openvino_graphs(const Bundle& bundle, unsigned threads);

}  // namespace shadowdiffusion
