// Launches the GPU kernels of a bundle from their records, through the CUDA driver: no compiler is needed. Twin of
// runtime/gpu/cuda_kernels.py.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/bundle.h"
#include "gpu/cuda.h"

namespace shadowdiffusion {

// An address or a number by the name of a kernel's argument.
struct Argument {
    std::string_view name;
    std::uint64_t value;
};

// Bytes before each parameter of a kernel, which is aligned to its size, and of the whole list.
struct ParameterList {
    std::vector<std::size_t> offsets;
    std::size_t size = 0;
};

// Throws BundleError for an unknown type.
ParameterList parameter_list(std::span<const KernelArgument> arguments);

// The kernels of a bundle on one GPU; each is loaded at its first launch. bundle and cuda must outlive it. One call at a
// time.
class CudaKernels {
  public:
    // Throws RestoreError if the bundle has none for this GPU.
    CudaKernels(const Bundle& bundle, const Cuda& cuda);
    ~CudaKernels();

    // Throws RestoreError unless all these specialisations are there.
    void require(const std::set<std::string>& names) const;

    // Queue one kernel over so many images. `name` with `_any` after it is taken where only that takes these arguments. Throws RestoreError
    // if neither does, and BundleError for arguments that are not those of the record.
    void launch(const std::string& name, std::size_t images, std::span<const Argument> arguments);

  private:
    struct Loaded;
    Loaded& fitting(const std::string& name, std::span<const Argument> arguments);
    std::string advice() const;

    const Bundle& bundle_;
    const Cuda& cuda_;
    std::map<std::string, std::pair<const Kernel*, const KernelBuild*>> builds_;
    std::map<std::string, std::unique_ptr<Loaded>> loaded_;
};

}  // namespace shadowdiffusion
