// The whole method on the GPU: photos go up, results come down, and in between nothing leaves it. Twin of
// runtime/gpu/device_loop.py.
//
// After a first run in single launches, everything between upload and download, all steps included, is one CUDA graph per
// shape and kind of restoration. Not run on a GPU yet: the tests give it a driver made of C++ functions.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bundle/bundle.h"
#include "gpu/constants.h"
#include "gpu/cuda_kernels.h"
#include "gpu/device_networks.h"
#include "gpu/program.h"
#include "gpu/workspace.h"
#include "loop/loop.h"

namespace shadowdiffusion {

inline constexpr std::size_t KEPT_SHAPES = 4;  // whose memory and graphs are kept for the next photos

// The loop for networks on a GPU, with the kernels of their bundle. Calls take turns.
class DeviceLoop final : public Loop {
  public:
    // bundle must outlive it. `say` hears if CUDA graphs cannot be used; everything works without them. Throws
    // RestoreError where the bundle has no kernels for this GPU or these networks.
    DeviceLoop(const Bundle& bundle, std::shared_ptr<DeviceNetworks> networks, std::function<void(const std::string&)> say);
    ~DeviceLoop() override;

    Networks& networks() override { return *networks_; }

    // As `Loop`. More images than the networks take at once go through it in batches, one going up meanwhile. Progress
    // comes after each batch. The seconds are those of the GPU, of a batch in equal parts; those of a CUDA graph, which is
    // not divided, all count as diffusion.
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;
    std::vector<Working> restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena) override;

    // Why every launch is made singly from now on, if so.
    const std::optional<std::string>& without_graphs() const { return without_graphs_; }

  private:
    // What is asked for, and where results go, one for each image.
    struct Order {
        std::span<const WorkingImage> images;
        const Wanted& wanted;
        const Plan& plan;
        std::span<Working> found;
    };
    // A batch that is on its way: where it goes in and out, its first image, and whether it is in single launches.
    struct Sent {
        const Slot* slot;
        std::size_t first;
        bool single;
    };

    void stream(const Order& order, std::size_t first, std::size_t end);
    bool launch(Workspace& space, const Program& program, const Plan& plan, const Slot& slot);
    const RecordedGraph* graph(Workspace& space, const Program& program, const Plan& plan);
    void take(const Order& order, const Workspace& space, const Sent& sent) const;
    Workspace& ready(std::size_t images, Size size, const Plan& plan, std::size_t batches);
    Workspace& made(std::size_t images, Size size, const Plan& plan, std::size_t batches);
    const DeviceConstants& constants(std::span<const Step> table, std::size_t images);

    const Bundle& bundle_;
    std::shared_ptr<DeviceNetworks> networks_;
    std::function<void(const std::string&)> say_;
    const Cuda& cuda_;
    CudaKernels kernels_;
    const KernelNames names_;
    std::optional<std::string> without_graphs_;
    // By the first step of a table of the manifest, and the number of images.
    std::map<std::pair<const Step*, std::size_t>, std::unique_ptr<DeviceConstants>> constants_;
    std::list<std::unique_ptr<Workspace>> spaces_;  // the latest is the last
};

}  // namespace shadowdiffusion
