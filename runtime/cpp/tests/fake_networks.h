// Networks of a few lines, so that everything around real ones can be tested by itself.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backends/networks.h"
#include "errors.h"
#include "loop/host_loop.h"
#include "restorer.h"
#include "text.h"

namespace shadowdiffusion {

// The pixels that they take at most, which they say when it is too late, and note of those that they are given.
struct Confines {
    std::optional<std::size_t> most;
    std::vector<Size>* seen = nullptr;
};

// The prior doubles the light of the mask, the denoiser predicts a tenth of its state, and finds half the mask.
class FakeNetworks final : public Networks {
  public:
    explicit FakeNetworks(Confines confines = {}) : confines_(std::move(confines)) {}

    const std::string& title() const override { return title_; }

    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override {
        look(image);
        for (std::size_t c = 0; c < 3; ++c)
            for (std::size_t i = 0; i < image.area(); ++i)
                clean.plane(c)[i] = std::min(1.0f, image.plane(c)[i] * (1 + mask.values[i]));
        std::ranges::transform(image.plane(0), matte.values.begin(), [](float v) { return v < 0.5f ? 1.0f : 0.0f; });
    }

    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step&, Planes noise, Planes shadow) override {
        look(y);
        std::ranges::transform(x_t.values, noise.values.begin(), [](float v) { return v / 10; });
        if (!shadow.absent())
            std::ranges::transform(mask.values, shadow.values.begin(), [](float v) { return v / 2; });
    }

  private:
    void look(ConstPlanes image) const {
        if (confines_.seen) confines_.seen->push_back(image.size());
        if (confines_.most && image.area() > *confines_.most)
            throw OutOfMemoryError(text(image.area(), " pixels are too many"));
    }

    Confines confines_;
    std::string title_ = "networks of a few lines";
};

inline std::unique_ptr<Restorer> fake_restorer(Bundle bundle, unsigned threads = 2, const Confines& confines = {}) {
    return std::make_unique<Restorer>(
        std::move(bundle),
        [&](const Bundle& of, Workers& workers) {
            return std::make_unique<HostLoop>(of, std::make_unique<FakeNetworks>(confines), workers);
        },
        threads);
}

}  // namespace shadowdiffusion
