// Seconds since it began.
#pragma once

#include <chrono>

namespace shadowdiffusion {

class Stopwatch {
  public:
    double seconds() const { return std::chrono::duration<double>(Clock::now() - began_).count(); }

  private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point began_ = Clock::now();
};

}  // namespace shadowdiffusion
