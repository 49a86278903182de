// The best engine of a bundle as a loop: one that fits this machine, is whole, and passes the golden check. Twin of the
// first part of runtime/backends/selection.py and of runtime/engines/engine_networks.py.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bundle/bundle.h"
#include "engines/engine_backend.h"
#include "loop/loop.h"
#include "workers.h"

namespace shadowdiffusion {

// A loop, and the key of its engine.
struct EngineLoop {
    std::unique_ptr<Loop> loop;
    EngineKey key;
};

// Throws RestoreError with the reasons where no engine can be used. portable: opens the bundle's own graphs, which say
// what an engine that is new to this machine should give. `say` hears why others were passed over, and what is done on the
// CPU instead. bundle and workers must outlive the loop.
EngineLoop best_engine(const Bundle& bundle, const EngineBackend& backend, const std::function<std::unique_ptr<Loop>()>& portable,
                       const std::function<void(const std::string&)>& say, Workers& workers);

}  // namespace shadowdiffusion
