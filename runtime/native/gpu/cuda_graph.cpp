#include "gpu/cuda_graph.h"

namespace shadowdiffusion {

namespace {

CudaGraph record(const Cuda& cuda, const std::function<void()>& enqueue) {
    const CudaDriver& driver = cuda.driver();
    CudaGraph graph = nullptr;
    cuda.call(driver.cuStreamBeginCapture, cuda.stream(), CUDA_CAPTURE_THREAD_LOCAL);
    try {
        enqueue();
    } catch (...) {
        cuda.release(driver.cuStreamEndCapture, cuda.stream(), &graph);
        if (graph) cuda.release(driver.cuGraphDestroy, graph);
        throw;
    }
    cuda.call(driver.cuStreamEndCapture, cuda.stream(), &graph);
    return graph;
}

}  // namespace

RecordedGraph::RecordedGraph(const Cuda& cuda, const std::function<void()>& enqueue) : cuda_(cuda) {
    const CudaGraph recorded = record(cuda, enqueue);
    const CudaResult result = cuda.driver().cuGraphInstantiate.call(&handle_, recorded, 0ull);
    cuda.release(cuda.driver().cuGraphDestroy, recorded);
    cuda.check(cuda.driver().cuGraphInstantiate.name, result);
}

}  // namespace shadowdiffusion
