// Whether an engine is for this machine: its key is compared with what the key would be if it were built here. Twin of
// runtime/engines/fit.py.
#pragma once

#include <optional>
#include <string>

#include "bundle/bundle.h"
#include "engines/engine_backend.h"
#include "gpu/cuda.h"

namespace shadowdiffusion {

// Why an engine is not for this machine, or nothing.
std::optional<std::string> misfit(const EngineKey& key, const Bundle& bundle, const Gpu& gpu, const EngineBackend& backend);

// Whether an image of this size, in pixels, is within the engine's profile by itself: loops divide what is too much for
// their networks at once.
bool covers(const EngineKey& key, Size size);

// Whether photos of 3:2 and 2:3 with a long side of the bundle's working size are.
bool covers_photos(const EngineKey& key, const ModelInfo& model);

}  // namespace shadowdiffusion
