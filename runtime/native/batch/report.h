// What the user sees while photos are restored: a line or a record for each, a bar on a terminal, and a last word. Twin
// of runtime/batch/report.py.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "batch/inputs.h"
#include "batch/outcome.h"
#include "batch/stopping.h"

namespace shadowdiffusion {

// Tells about `total` photos as they finish; when nobody reads stdout any more, it asks `stop`. Outcomes are added by
// one thread; steps may come from any.
class Report {
  public:
    struct Shown {
        // A line for each photo on stdout.
        bool lines = true;
        // JSON there.
        bool records = false;
        // A bar on stderr: over many photos, or over the steps of a single one.
        bool bar = false;
    };

    Report(std::size_t total, Stop& stop, Shown shown) : total_(total), stop_(stop), shown_(shown) {}

    // Advance the bar of a single photo.
    void step(const std::string& name, int done, int steps);

    // Tell what became of a photo.
    void add(const Outcome& outcome);

    // Tell what the user should know; from any thread.
    void warn(const std::string& line) { say(line, "warning"); }

    // Tell that something was not even tried.
    void refuse(const Problem& problem);

    // Say the last word; returns the exit code.
    int end();

  private:
    std::size_t told() const { return restored_ + skipped_ + failed_; }
    void draw(const std::string& line);
    std::string pace() const;
    void say(const std::string& message, const char* kind = "error");
    bool deliver(std::string_view data);

    std::size_t total_;
    Stop& stop_;
    Shown shown_;
    std::size_t restored_ = 0, skipped_ = 0, failed_ = 0, refused_ = 0;
    std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::mutex screen_;
    bool drawn_ = false;
};

}  // namespace shadowdiffusion
