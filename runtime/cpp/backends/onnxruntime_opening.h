// Where ONNX Runtime's library is found, and how it is opened. Needs nothing of it to be compiled.
#pragma once

#include "shared_library.h"

namespace shadowdiffusion {

// The file, or the folder, that the environment variable SHADOWDIFFUSION_ONNXRUNTIME names, and nowhere else if it is set; the
// file that ONNXRUNTIME_LIBRARY was when this was built; libonnxruntime.so.1 and libonnxruntime.so, as the loader finds them.
// Its telemetry, which begins as it is loaded, is off unless the environment has ORT_DISABLE_TELEMETRY. Throws RestoreError.
SharedLibrary open_onnxruntime();

}  // namespace shadowdiffusion
