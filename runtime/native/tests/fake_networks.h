// Networks of a few lines, so that everything around real ones can be tested by itself.
#pragma once

#include <algorithm>
#include <memory>
#include <string>

#include "backends/networks.h"
#include "restorer.h"

namespace shadowdiffusion {

// The prior doubles the light of the mask, the denoiser predicts a tenth of its state, and finds half the mask.
class FakeNetworks final : public Networks {
  public:
    const std::string& title() const override { return title_; }

    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override {
        for (std::size_t c = 0; c < 3; ++c)
            for (std::size_t i = 0; i < image.area(); ++i)
                clean.plane(c)[i] = std::min(1.0f, image.plane(c)[i] * (1 + mask.values[i]));
        std::ranges::transform(image.plane(0), matte.values.begin(), [](float v) { return v < 0.5f ? 1.0f : 0.0f; });
    }

    void denoise(ConstPlanes, ConstPlanes mask, ConstPlanes x_t, const Step&, Planes noise, Planes shadow) override {
        std::ranges::transform(x_t.values, noise.values.begin(), [](float v) { return v / 10; });
        if (!shadow.absent())
            std::ranges::transform(mask.values, shadow.values.begin(), [](float v) { return v / 2; });
    }

  private:
    std::string title_ = "networks of a few lines";
};

inline std::unique_ptr<Restorer> fake_restorer(Bundle bundle, unsigned threads = 2) {
    return std::make_unique<Restorer>(
        std::move(bundle), [](const Bundle&) { return std::make_unique<FakeNetworks>(); }, threads);
}

}  // namespace shadowdiffusion
