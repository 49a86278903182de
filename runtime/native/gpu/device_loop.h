// The whole method on the GPU: a photo goes up, results come down, and in between nothing leaves it. Twin of
// runtime/gpu/device_loop.py.
//
// After a first run in single launches, everything between upload and download, all steps included, is one CUDA graph per
// size and kind of restoration. Not run on a GPU yet: the tests give it a driver made of C++ functions.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "bundle/bundle.h"
#include "gpu/constants.h"
#include "gpu/cuda_kernels.h"
#include "gpu/device_networks.h"
#include "gpu/program.h"
#include "gpu/workspace.h"
#include "loop/loop.h"

namespace shadowdiffusion {

inline constexpr std::size_t KEPT_SIZES = 4;  // whose memory and graphs are kept for the next photos

// The loop for networks on a GPU, with the kernels of their bundle. Calls take turns.
class DeviceLoop final : public Loop {
  public:
    // bundle must outlive it. `say` hears if CUDA graphs cannot be used; everything works without them. Throws
    // RestoreError where the bundle has no kernels for this GPU or these networks.
    DeviceLoop(const Bundle& bundle, std::shared_ptr<DeviceNetworks> networks, std::function<void(const std::string&)> say);
    ~DeviceLoop() override;

    Networks& networks() override { return *networks_; }

    // As `Loop`. Progress comes once, when all is done. The seconds are those of the GPU; those of a CUDA graph, which is
    // not divided, all count as diffusion.
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;

    // Why every launch is made singly from now on, if so.
    const std::optional<std::string>& without_graphs() const { return without_graphs_; }

  private:
    Workspace& ready(Size size, const Plan& plan);
    Workspace& made(Size size, const Plan& plan);
    const DeviceConstants& constants(std::span<const Step> table);
    void send(const Workspace& space, ConstPlanes image, ConstPlanes mask, std::uint64_t seed) const;
    bool launch(Workspace& space, const Program& program, const Plan& plan);
    const RecordedGraph* graph(Workspace& space, const Program& program, const Plan& plan);
    void receive(const Workspace& space, const Plan& plan, const Working& found) const;

    const Bundle& bundle_;
    std::shared_ptr<DeviceNetworks> networks_;
    std::function<void(const std::string&)> say_;
    const Cuda& cuda_;
    CudaKernels kernels_;
    const KernelNames names_;
    std::optional<std::string> without_graphs_;
    std::map<const Step*, std::unique_ptr<DeviceConstants>> constants_;  // by the first step of a table of the manifest
    std::list<std::unique_ptr<Workspace>> spaces_;  // the latest is the last
};

}  // namespace shadowdiffusion
