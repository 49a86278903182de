// Every launch of one restoration on the GPU, in order: the prior, the first state, and the steps. Twin of
// runtime/gpu/program.py.
//
// Nothing here waits, allocates, or depends on pixel values, so that the stream's work may be captured as a CUDA graph.
#pragma once

#include <initializer_list>
#include <set>
#include <string>

#include "bundle/bundle.h"
#include "gpu/constants.h"
#include "gpu/cuda_kernels.h"
#include "gpu/device_networks.h"
#include "gpu/plan.h"
#include "gpu/workspace.h"

namespace shadowdiffusion {

// The specialisations that a bundle's schedule and the inputs and outputs of networks call for.
struct KernelNames {
    // Throws RestoreError for networks whose outputs the kernels do not read, or sizes that they do not take.
    KernelNames(const Bundle& bundle, const DeviceNetworks& networks);

    std::string step, noisy_step, last_step, start, mask;
    std::string depth;  // empty: masks are not computed in closed form
    std::string confident = "confident_mask_fp32", illumination = "prior_coefficients_fp32_h",
                blend = "prior_coefficients_fp32";

    std::set<std::string> all() const;
};

// The launches of a plan on one workspace. All must outlive it.
class Program {
  public:
    Program(CudaKernels& kernels, const KernelNames& names, const Manifest& manifest, const DeviceConstants& constants,
            Workspace& workspace, const Plan& plan)
        : kernels_(kernels), names_(names), model_(manifest.model), sampling_(manifest.sampling), constants_(constants),
          space_(workspace), cuda_(workspace.cuda()), plan_(plan) {}

    // Queue everything from the uploaded photos to the results.
    void run() const {
        prior();
        diffusion();
    }

    // Queue masks, clean images, illumination, blend coefficients and the first state.
    void prior() const;

    // Queue all steps; the last estimate is left in x, the mask in refined.
    void diffusion() const;

  private:
    void refine_mask(std::size_t index) const;
    void coefficients(const std::string& name, std::size_t index) const;
    void step(const std::string& name, std::size_t index, bool refined) const;
    void launch(const std::string& name, std::initializer_list<Argument> arguments) const {
        kernels_.launch(name, space_.images, arguments);
    }

    CudaKernels& kernels_;
    const KernelNames& names_;
    const ModelInfo& model_;
    const Sampling& sampling_;
    const DeviceConstants& constants_;
    Workspace& space_;
    const Cuda& cuda_;
    const Plan plan_;
};

}  // namespace shadowdiffusion
