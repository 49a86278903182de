// The networks of a bundle as engines of TensorRT, or of TensorRT for RTX, whichever this was built for, on the GPU.
#pragma once

#include <string_view>

#include "engines/engine_backend.h"

namespace shadowdiffusion {

inline constexpr std::string_view TENSORRT_NAME = SHADOWDIFFUSION_TENSORRT_NAME;  // "tensorrt" or "tensorrt-rtx"

// Opens the library. Throws RestoreError where it is missing.
EngineBackend tensorrt_backend();

}  // namespace shadowdiffusion
