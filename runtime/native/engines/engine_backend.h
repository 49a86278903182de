// What opens the engines of one backend.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "bundle/bundle.h"
#include "engines/store.h"
#include "gpu/device_networks.h"

namespace shadowdiffusion {

struct EngineBackend {
    std::string name;     // as keys of engines have it: "tensorrt", "tensorrt-rtx"
    std::string title;    // for people
    std::string version;  // of the library that is here
    // Throws RestoreError. bundle and engine must outlive the networks.
    std::function<std::shared_ptr<DeviceNetworks>(const Bundle&, const StoredEngine&)> open;
};

}  // namespace shadowdiffusion
