#include "backends/onnxruntime_opening.h"

#include <cstdlib>
#include <mutex>

namespace shadowdiffusion {

SharedLibrary open_onnxruntime() {
    static std::once_flag once;
    std::call_once(once, [] { ::setenv("ORT_DISABLE_TELEMETRY", "1", 0); });
    return {"ONNX Runtime",
            library_candidates("SHADOWDIFFUSION_ONNXRUNTIME", SHADOWDIFFUSION_ONNXRUNTIME_LIBRARY,
                               {"libonnxruntime.so.1", "libonnxruntime.so"}),
            "install it, or set SHADOWDIFFUSION_ONNXRUNTIME to the folder of libonnxruntime.so.1, which in the pip package is "
            "onnxruntime/capi"};
}

}  // namespace shadowdiffusion
