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
    // bundle, networks and workers must outlive the loop, unless the networks are given to it.
    HostLoop(const Bundle& bundle, Networks& networks, Workers& workers);
    HostLoop(const Bundle& bundle, std::unique_ptr<Networks> networks, Workers& workers);

    Networks& networks() override { return networks_; }
    Working restore(ConstPlanes image, ConstPlanes mask, const Wanted& wanted, Arena& arena) override;

  private:
    void find_mask(ConstPlanes y, Planes mask, Arena& arena) const;

    const Bundle& bundle_;
    std::unique_ptr<Networks> owned_;
    Networks& networks_;
    Workers& workers_;
};

}  // namespace shadowdiffusion
