#include "backends/onnxruntime_library.h"

#include <algorithm>
#include <stdexcept>

#include "backends/onnxruntime_opening.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// Everything that is used here came with ONNX Runtime 1.16 or before, and later libraries still serve that version.
constexpr std::uint32_t OLDEST = 16;

struct Library {
    const OrtApi* api = nullptr;
    OrtEnv* environment = nullptr;
};

Library open() {
    const SharedLibrary shared = open_onnxruntime();
    const OrtApiBase* base = shared.function<decltype(&OrtGetApiBase)>("OrtGetApiBase")();
    Library library;
    library.api = base->GetApi(std::min<std::uint32_t>(OLDEST, ORT_API_VERSION));
    if (library.api == nullptr)
        throw RestoreError(text("ONNX Runtime ", base->GetVersionString(), " (", shared.path(), ") is too old: 1.", OLDEST,
                                " or newer is needed"));
    OrtStatus* status = library.api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "shadowdiffusion", &library.environment);
    if (status != nullptr) {
        const std::string why = library.api->GetErrorMessage(status);
        library.api->ReleaseStatus(status);
        throw RestoreError(text("ONNX Runtime does not start: ", why));
    }
    return library;
}

// A failed opening is tried again by the next caller.
const Library& library() {
    static const Library opened = open();
    return opened;
}

}  // namespace

const OrtApi& onnxruntime() { return *library().api; }

OrtEnv* onnxruntime_environment() { return library().environment; }

void demand(OrtStatus* status) {
    if (status == nullptr) return;
    const OrtOwned<OrtStatus> owned(status);
    throw std::runtime_error(onnxruntime().GetErrorMessage(status));
}

}  // namespace shadowdiffusion
