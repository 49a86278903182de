// Networks of a few lines in the memory of the fake GPU, which run when their stream is waited for.
#pragma once

#include <memory>
#include <string>

#include "gpu/device_networks.h"

namespace shadowdiffusion {

// What they are, and how they fail.
struct DeviceTraits {
    std::string packed;              // type of the denoiser's input of seven channels, "": it takes three inputs
    std::string output = "FLOAT";    // type of the denoiser's noise
    Size least = {16, 16}, most = {64, 96};
    std::size_t batch = 1;           // images at once, at most
    bool refuses_in_capture = false;
    std::string uncapturable;        // what they say of CUDA graphs
    bool broken = false;             // the denoiser gives values that are no numbers
};

std::unique_ptr<DeviceNetworks> fake_device_networks(const Bundle& bundle, const DeviceTraits& traits = {});

}  // namespace shadowdiffusion
