#include "engines/cpu_engine.h"

#include <array>
#include <new>
#include <optional>

#include "backends/failures.h"
#include "backends/networks.h"
#include "bundle/time_table.h"
#include "cpu/network.h"
#include "engines/golden_check.h"
#include "engines/store.h"
#include "errors.h"
#include "loop/host_loop.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

class CpuKernelNetworks final : public Networks {
  public:
    CpuKernelNetworks(const Bundle& bundle, const StoredEngine& engine, std::unique_ptr<Loop> portable, Workers& workers)
        : title_("engine " + engine.name()), rows_(read_rows(bundle)), portable_(std::move(portable)),
          denoiser_(read_plan(engine.path / engine.networks.find(DENOISER)->second.file), workers) {}

    const std::string& title() const override { return title_; }
    void prefetch() override { portable_->networks().prefetch(); }

    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override {
        portable_->networks().prior(image, mask, clean, matte);
    }

    // Where the mask is wanted, which is once for a photo at most, the graph makes both.
    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise, Planes shadow) override {
        if (!shadow.absent()) return portable_->networks().denoise(y, mask, x_t, step, noise, shadow);
        const std::array inputs = {NamedInput{"image", y.values.data()}, NamedInput{"mask", mask.values.data()},
                                   NamedInput{"x_t", x_t.values.data()}};
        const std::array outputs = {NamedOutput{"noise", noise.values.data()}};
        std::span<const float> row;
        if (rows_) row = rows_->row(static_cast<std::size_t>(step.row.value_or(0)));
        try {
            denoiser_.run(y.height, y.width, inputs, row, outputs);
        } catch (const std::exception& error) {
            throw_failure(DENOISER, y.height, y.width, error);
        }
        if (!all_finite(noise.values))
            throw RestoreError(text(DENOISER, " returned values that are not finite: it cannot handle this photo"));
    }

  private:
    std::string title_;
    std::optional<TimeTable> rows_;
    std::unique_ptr<Loop> portable_;
    CpuNetwork denoiser_;
};

// Why the engine is not for this runtime or bundle, or nothing.
std::optional<std::string> misfit(const StoredEngine& engine, const Bundle& bundle) {
    if (engine.key.backend_version != SHADOWDIFFUSION_CPU_KERNELS_VERSION)
        return text("backend version is ", engine.key.backend_version, ", not ", SHADOWDIFFUSION_CPU_KERNELS_VERSION);
    if (engine.key.onnx != network_digests(bundle)) return "the bundle's networks changed since";
    if (!engine.networks.contains(DENOISER)) return "it has no denoiser";
    return engine.damage();
}

}  // namespace

std::unique_ptr<Loop> cpu_engine(const Bundle& bundle, const std::function<std::unique_ptr<Loop>()>& portable,
                                 const std::function<void(const std::string&)>& say, Workers& workers) {
    std::string reasons;
    for (const auto& folder : engine_folders(bundle)) {
        const std::string name = folder.filename().string();
        try {
            const StoredEngine engine = read_engine(folder);
            if (engine.key.backend != CPU_KERNELS_NAME) continue;
            if (const auto why = misfit(engine, bundle)) throw RestoreError(*why);
            auto networks = std::make_unique<CpuKernelNetworks>(bundle, engine, portable(), workers);
            const auto check = [&] {
                const auto truth = portable();
                return golden_psnr(bundle, engine, *networks, *truth, workers);
            };
            const Verdict verdict = verdict_of({networks->title(), engine.digest}, "CPU", "networks", least_psnr(engine), check, say);
            if (const auto failure = verdict.failure())
                throw RestoreError(*failure + " (python -m export build-engine builds it again)");
            return std::make_unique<HostLoop>(bundle, std::move(networks), workers);
        } catch (const RestoreError& error) {
            reasons += text(reasons.empty() ? "" : "; ", "engine ", name, ": ", error.what());
        }
    }
    if (reasons.empty()) return nullptr;
    throw RestoreError(reasons);
}

}  // namespace shadowdiffusion
