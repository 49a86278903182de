#include "engines/whole_loop.h"

#include "bundle/golden_example.h"
#include "errors.h"
#include "gpu/device_loop.h"
#include "loop/host_loop.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

// The steps between networks on the CPU.
class OnHost final : public Loop {
  public:
    OnHost(const Bundle& bundle, std::shared_ptr<DeviceNetworks> networks, Workers& workers)
        : networks_(std::move(networks)), loop_(bundle, *networks_, workers) {}
    Networks& networks() override { return *networks_; }
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override {
        return loop_.restore(image, mask, wanted, arena);
    }

  private:
    std::shared_ptr<DeviceNetworks> networks_;
    HostLoop loop_;
};

// The kernels of a bundle in a word that changes with them.
std::string kernels_of(const Bundle& bundle) {
    std::string found;
    for (const Kernel& kernel : bundle.manifest.kernels)
        for (const KernelBuild& build : kernel.builds)
            if (const auto file = bundle.manifest.files.find(build.file); file != bundle.manifest.files.end())
                found += file->second.sha256;
    return found;
}

}  // namespace

std::unique_ptr<Loop> whole_loop(const Bundle& bundle, const std::shared_ptr<DeviceNetworks>& networks,
                                 const Checked& checked, const std::optional<EngineKey>& key,
                                 const std::function<void(const std::string&)>& say, Workers& workers) {
    try {
        auto loop = std::make_unique<DeviceLoop>(bundle, networks, say);
        const Verdict verdict = verdict_of(
            checked, networks->cuda().gpu().title(), "kernels " + kernels_of(bundle), GOLDEN_TOLERANCE,
            [&] { return loop_psnr(bundle, key, networks, workers); }, say);
        if (const auto failure = verdict.failure()) throw RestoreError(*failure);
        return loop;
    } catch (const RestoreError& error) {
        say(text(checked.title, " leaves the steps between its networks to the CPU: ", error.what()));
        return std::make_unique<OnHost>(bundle, networks, workers);
    }
}

}  // namespace shadowdiffusion
