#include "backends/onnxruntime_session.h"

#include <algorithm>

#include "backends/failures.h"
#include "backends/graph_networks.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// Names of inputs or outputs, sorted.
template <class Count, class Name>
std::vector<std::string> names_of(const OrtSession* session, Count count, Name name) {
    OrtAllocator* allocator = nullptr;
    demand(onnxruntime().GetAllocatorWithDefaultOptions(&allocator));
    std::size_t size = 0;
    demand(count(session, &size));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < size; ++i) {
        char* found = nullptr;
        demand(name(session, i, allocator, &found));
        names.emplace_back(found);
        demand(onnxruntime().AllocatorFree(allocator, found));
    }
    std::ranges::sort(names);
    return names;
}

}  // namespace

std::shared_ptr<Session> open_session(const Bundle& bundle, const std::string& name, unsigned threads,
                                      const std::function<void(OrtSessionOptions*)>& place) {
    const std::string path = (bundle.path / name).string();
    auto opened = std::make_shared<Session>();
    Signature found;
    try {
        const auto options = made<OrtSessionOptions>(onnxruntime().CreateSessionOptions);
        demand(onnxruntime().SetSessionLogSeverityLevel(options.get(), ORT_LOGGING_LEVEL_FATAL));
        demand(onnxruntime().SetIntraOpNumThreads(options.get(), static_cast<int>(threads)));
        if (place) place(options.get());
        opened->session = made<OrtSession>(onnxruntime().CreateSession, onnxruntime_environment(), path.c_str(),
                                           static_cast<const OrtSessionOptions*>(options.get()));
        const OrtSession* session = opened->session.get();
        found.inputs = names_of(session, onnxruntime().SessionGetInputCount, onnxruntime().SessionGetInputName);
        found.outputs = names_of(session, onnxruntime().SessionGetOutputCount, onnxruntime().SessionGetOutputName);
    } catch (const std::exception& error) {
        throw BundleError(text("ONNX Runtime cannot load ", path, ": ", one_line(error.what())));
    }
    check_signature(path, found, signature_of(bundle, name));
    return opened;
}

}  // namespace shadowdiffusion
