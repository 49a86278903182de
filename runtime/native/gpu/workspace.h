// All memory that images of one size need on the GPU, with the networks bound to it. Twin of runtime/gpu/workspace.py,
// with the pinned memory of runtime/gpu/slot.py.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "gpu/cuda.h"
#include "gpu/cuda_graph.h"
#include "gpu/device_networks.h"
#include "gpu/plan.h"

namespace shadowdiffusion {

inline constexpr std::size_t DEPTH_PARTS = 128;  // partial sums of the kernel `confident_depth`, per quantity

// Bytes before each tensor in a block of memory that goes up, comes down, or stays.
struct Incoming {
    explicit Incoming(std::size_t area);
    std::size_t y, stream, mask, size;
};
struct Outgoing {
    explicit Outgoing(std::size_t area);
    std::size_t x, clean, h, refined, size;
};

// Memory and networks for an image of `size` pixels, which is padded. Throws OutOfMemoryError.
class Workspace {
  public:
    // networks must outlive it; their context is that of the thread, here and in every call.
    Workspace(DeviceNetworks& networks, Size size, bool has_prior);

    const Size size;
    const std::size_t area;
    const Incoming incoming;
    const Outgoing outgoing;

    // Addresses, all of floats but `stream`, of 64-bit integers: y, mask: the photo and its mask; stream: its noise; x,
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

    // Host copies of what goes up and comes down.
    const PinnedBuffer up, down;

    // Passed by the stream before the networks, after the prior, and when all results are in host memory.
    const DeviceEvent started, between, ended;

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
};

}  // namespace shadowdiffusion
