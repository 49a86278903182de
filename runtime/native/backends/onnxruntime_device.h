// ONNX Runtime in the loop on the GPU: the graphs of a bundle bound to memory that is there already, on the loop's own
// stream. Twin of runtime/backends/onnxruntime_execution.py.
//
// Not run on a GPU yet: the tests bind sessions of the CPU to the memory of a driver made of C++ functions.
#pragma once

#include <memory>

#include "bundle/bundle.h"
#include "gpu/device_networks.h"

namespace shadowdiffusion {

// Whether the ONNX Runtime that is here was built with CUDA. Throws RestoreError where there is none.
bool onnxruntime_has_cuda();

// One image at a time: more at once are other shapes, for which cuDNN may choose algorithms that round differently.
// threads: for what is left to the CPU; 0: one per core. `bundle` must outlive it. Throws RestoreError where there is no
// GPU, no ONNX Runtime with CUDA, or where CUDA does not start.
std::shared_ptr<DeviceNetworks> onnxruntime_on_device(const Bundle& bundle, unsigned threads);

}  // namespace shadowdiffusion
