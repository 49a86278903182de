// What a stream was given, recorded once and launched again as a whole: a CUDA graph. Twin of runtime/gpu/cuda_graph.py.
#pragma once

#include <functional>

#include "gpu/cuda.h"

namespace shadowdiffusion {

// Everything that `enqueue` gives to the stream; nothing of it runs while it is recorded. Throws what `enqueue` throws,
// and RestoreError if the driver refuses a part of it or the whole. The stream takes plain work again afterwards,
// whatever happened.
class RecordedGraph {
  public:
    RecordedGraph(const Cuda& cuda, const std::function<void()>& enqueue);
    ~RecordedGraph() { cuda_.release(cuda_.driver().cuGraphExecDestroy, handle_); }
    RecordedGraph(const RecordedGraph&) = delete;
    RecordedGraph& operator=(const RecordedGraph&) = delete;

    // Queue all of it once more, on the memory it was recorded with.
    void launch() const { cuda_.call(cuda_.driver().cuGraphLaunch, handle_, cuda_.stream()); }

  private:
    const Cuda& cuda_;
    CudaGraphExec handle_ = nullptr;
};

}  // namespace shadowdiffusion
