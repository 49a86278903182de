// The graphs of a bundle, or of an engine that was made of it, run by ONNX Runtime on the CPU.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "backends/graph_networks.h"
#include "bundle/bundle.h"

namespace shadowdiffusion {

// How its sessions are opened. The defaults are those of the Python runtime.
struct OnnxRuntimeSettings {
    std::string title = "ONNX Runtime on the CPU";
    int threads = 0;         // of each network; 0: one per core
    bool spinning = true;    // threads that wait for work use the processor
    bool optimized = false;  // the graphs are to be run as they are, since ONNX Runtime has written them
    std::function<std::filesystem::path(std::string_view)> file;  // of a graph by name; empty: the bundle's
};

// `bundle` must outlive it. Throws RestoreError where the library cannot be had.
std::unique_ptr<Graphs> onnxruntime_graphs(const Bundle& bundle, OnnxRuntimeSettings settings);

}  // namespace shadowdiffusion
