// What the loop asks of the networks of a bundle, whoever runs them: each backend is one file behind this.
#pragma once

#include <string>

#include "bundle/manifest.h"
#include "fields.h"

namespace shadowdiffusion {

// Prior and denoiser of one bundle, batch 1, heights and widths multiples of the bundle's. Calls may come from any
// thread and throw RestoreError. A backend of its own implements this alone.
class Networks {
  public:
    virtual ~Networks() = default;

    // What runs the networks, and on which device, for people.
    virtual const std::string& title() const = 0;

    // Begin to open what every photo needs; whatever goes wrong is thrown when it runs.
    virtual void prefetch() {}

    // The degradation prior: image [3, H, W] and mask [1, H, W] -> clean image and shadow matte [1, H, W], all in [0, 1].
    virtual void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) = 0;

    // The denoiser at one step: y and x_t [3, H, W] in [-1, 1], mask [1, H, W] in [0, 1] -> the predicted noise and,
    // unless `shadow` is absent, the refined shadow mask [1, H, W] in [0, 1]. Without it the mask head does not run.
    virtual void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                         Planes shadow) = 0;
};

}  // namespace shadowdiffusion
