// A bundle for the loop on the fake GPU: any schedule, and stand-ins for the kernels that `python -m export kernels` makes.
#pragma once

#include <filesystem>

#include "bundle/bundle.h"
#include "temporary.h"

namespace shadowdiffusion {

struct DeviceCase {
    MaskPolicy policy = MaskPolicy::input;
    bool consistent = true, clamp = false, noisy = false, from_prior = false, growing_rho = false;
    bool has_prior = true, everywhere = false, has_head = true, rows = false;
};

// `place` gets the stand-ins, for compute capability `sm`, without those whose name has `without` in it.
Bundle device_bundle(const TemporaryFolder& place, const DeviceCase& of, int sm = 90, std::string_view without = "none");

}  // namespace shadowdiffusion
