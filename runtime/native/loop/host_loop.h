// The loop in memory of this machine, around the networks of any backend.
#pragma once

#include <memory>

#include "backends/networks.h"
#include "bundle/bundle.h"
#include "loop/loop.h"
#include "workers.h"

namespace shadowdiffusion {

class HostLoop final : public Loop {
  public:
    // bundle, networks and workers must outlive the loop.
    HostLoop(const Bundle& bundle, Networks& networks, Workers& workers);

    const std::string& title() const override { return networks_.title(); }
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;

  private:
    void find_mask(ConstPlanes y, Planes mask, Arena& arena) const;

    const Bundle& bundle_;
    Networks& networks_;
    Workers& workers_;
};

}  // namespace shadowdiffusion
