// An engine takes the image sizes it was built for; photos of other sizes go to another loop. Twin of WithinProfile in
// runtime/engines/profile.py.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "bundle/bundle.h"
#include "engines/store.h"
#include "loop/loop.h"

namespace shadowdiffusion {

class WithinProfile final : public Loop {
  public:
    // others: opens the loop for what the engine does not take; `say` hears of the first such image.
    WithinProfile(std::unique_ptr<Loop> engine, const Bundle& bundle, EngineKey key,
                  std::function<std::unique_ptr<Loop>()> others, std::function<void(const std::string&)> say)
        : engine_(std::move(engine)), multiple_(static_cast<std::size_t>(bundle.manifest.model.multiple)),
          key_(std::move(key)), open_(std::move(others)), say_(std::move(say)) {}

    Networks& networks() override { return engine_->networks(); }
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;
    std::vector<Working> restore_many(std::span<const WorkingImage> images, const Wanted& wanted, Arena& arena) override;

  private:
    Loop& loop_for(ConstPlanes image);

    std::unique_ptr<Loop> engine_;
    const std::size_t multiple_;
    const EngineKey key_;
    std::function<std::unique_ptr<Loop>()> open_;
    std::function<void(const std::string&)> say_;
    std::mutex mutex_;
    std::unique_ptr<Loop> others_;
};

}  // namespace shadowdiffusion
