// The graphs of a bundle, run by ONNX Runtime on the CPU.
#pragma once

#include <memory>

#include "backends/graph_networks.h"
#include "bundle/bundle.h"

namespace shadowdiffusion {

// threads: of each network; 0: one per core. `bundle` must outlive it. Throws RestoreError where the library cannot be
// had.
std::unique_ptr<Graphs> onnxruntime_graphs(const Bundle& bundle, unsigned threads);

}  // namespace shadowdiffusion
