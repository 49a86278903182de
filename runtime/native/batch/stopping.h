// Ctrl-C: the photos in hand are dropped or finished, and the rest is left for another time. Twin of
// runtime/batch/stopping.py.
#pragma once

#include <atomic>

namespace shadowdiffusion {

// The user does not want to wait for the result.
struct Stopped {};

// Whether to stop, and why.
class Stop {
  public:
    // Ask everybody to stop; `signal` is the one that asked for it, 0 if none did. Safe in a signal handler.
    void now(int signal = 0) noexcept {
        signal_.store(signal);
        asked_.store(true);
    }
    bool asked() const noexcept { return asked_.load(); }
    int signal() const noexcept { return signal_.load(); }
    // Throw Stopped if it is time.
    void check() const {
        if (asked()) throw Stopped();
    }

  private:
    std::atomic<bool> asked_ = false;
    std::atomic<int> signal_ = 0;
};

// SIGINT, SIGTERM or SIGHUP ask `stop`, which must live as long as the process; a second one ends the process at once.
// Writing to a pipe that nobody reads becomes an error that is reported, instead of an end without a word.
void stop_on_signals(Stop& stop);

}  // namespace shadowdiffusion
