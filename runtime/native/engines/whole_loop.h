// All of the loop on the GPU, where it proves right. Twin of a part of runtime/engines/engine_networks.py.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "bundle/bundle.h"
#include "engines/golden_check.h"
#include "gpu/device_networks.h"
#include "loop/loop.h"
#include "workers.h"

namespace shadowdiffusion {

// The loop on the GPU around these networks if the bundle has kernels for it that prove right with them, which is
// remembered; else the steps are left to the CPU, and `say` hears why. checked: what the networks are. key: of the engine
// that they are of, none for the bundle's own graphs. bundle and workers must outlive the loop.
std::unique_ptr<Loop> whole_loop(const Bundle& bundle, const std::shared_ptr<DeviceNetworks>& networks,
                                 const Checked& checked, const std::optional<EngineKey>& key,
                                 const std::function<void(const std::string&)>& say, Workers& workers);

}  // namespace shadowdiffusion
