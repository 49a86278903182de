// A graph that ONNX Runtime has opened.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "backends/onnxruntime_library.h"
#include "bundle/bundle.h"

namespace shadowdiffusion {

struct Session {
    OrtOwned<OrtSession> session;
    std::mutex turn;  // one run uses all threads
};

// Opens a graph of a bundle, set up as in the Python runtime. threads: on the CPU; 0: one per core. `place` puts it on
// another device. Throws BundleError where it cannot be loaded, or takes or gives something else than it should.
std::shared_ptr<Session> open_session(const Bundle& bundle, const std::string& name, unsigned threads,
                                      const std::function<void(OrtSessionOptions*)>& place = {});

}  // namespace shadowdiffusion
