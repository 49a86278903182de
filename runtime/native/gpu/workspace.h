// All memory that images of one size need on the GPU, with the networks bound to it. Twin of runtime/gpu/workspace.py.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gpu/cuda.h"
#include "gpu/cuda_graph.h"
#include "gpu/device_networks.h"
#include "gpu/plan.h"
#include "gpu/slot.h"

namespace shadowdiffusion {

inline constexpr std::size_t DEPTH_PARTS = 128;  // partial sums of the kernel `confident_depth`, per image and quantity

// Memory and networks for so many images of `size` pixels, after padding. Throws OutOfMemoryError.
class Workspace {
  public:
    // networks must outlive it; their context is that of the thread, here and in every call.
    Workspace(DeviceNetworks& networks, std::size_t images, Size size, bool has_prior);

    const std::size_t images;
    const Size size;
    const std::size_t area;  // pixels of one image
    const Incoming incoming;
    const Outgoing outgoing;

    // Addresses, all of floats but `stream`, of 64-bit integers: y, mask: photos and their masks; stream: their noise; x,
    // clean, h, refined: what comes down, of which x holds the diffusion's state all along; a, b: the blend
    // coefficients; seen: the mask that the denoiser gets; sums: those of `confident_depth`; time: the denoiser's;
    // condition: the denoiser's image, or, in its own type, its whole input of seven channels.
    struct Addresses {
        CudaAddress y, stream, mask, x, clean, h, refined, a, b, condition, seen, sums, time;
    } at{};

    std::unique_ptr<Execution> prior;  // none: the bundle has none
    std::unique_ptr<Execution> denoiser;

    // The mask head if it is a network of its own, made when first asked for. Throws OutOfMemoryError.
    Execution* head();

    // Why CUDA graphs cannot hold the networks, as far as that is known; captures have the last word.
    std::optional<std::string> uncapturable() const;

    const Cuda& cuda() const { return networks_.cuda(); }

    // One of the ways in and out: batches that come after each other take turns. Throws OutOfMemoryError.
    Slot& slot(std::size_t number);

    // What has run here in single launches, and what has been captured since.
    std::set<Plan> launched;
    std::map<Plan, std::unique_ptr<RecordedGraph>> graphs;

  private:
    // The type of the denoiser's input of seven channels, if it takes one.
    static std::optional<std::string> packed_type(const DeviceNetworks& networks);

    DeviceNetworks& networks_;
    DeviceBuffer incoming_, outgoing_;
    std::optional<DeviceBuffer> inner_;
    std::unique_ptr<Execution> head_;
    std::vector<std::unique_ptr<Slot>> slots_;
};

}  // namespace shadowdiffusion
