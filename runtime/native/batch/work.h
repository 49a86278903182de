// One photo from file to file: may it be written, read, restore, write. Twin of runtime/batch/work.py, without its
// notes and claims.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "batch/masks.h"
#include "batch/outcome.h"
#include "batch/plan.h"
#include "batch/settings.h"
#include "batch/stopping.h"
#include "photo/image.h"
#include "restorer.h"

namespace shadowdiffusion {

// Restores photos from file to file; may be called from several threads.
class Worker {
  public:
    struct Choices {
        std::optional<Masks> masks;
        std::optional<Format> format;  // of what goes to stdout; none: the photo's own
        bool overwrite = false;        // replace what is there
        std::function<void(const Job&, int, int)> on_step;
        Warn warn;
    };

    Worker(const Restorer& restorer, const Settings& settings, const Stop& stop, Choices choices)
        : restorer_(restorer), settings_(settings), stop_(stop), choices_(std::move(choices)) {}

    // Restore one photo; whatever goes wrong is in the outcome.
    Outcome operator()(const Job& job) const noexcept;

  private:
    void process(const Job& job, Outcome& outcome) const;
    void check_targets(const Job& job, const std::optional<std::string>& mask) const;
    void write(const Job& job, Photo& photo, Restored& restored, Format form, Outcome& outcome) const;
    Options options(const Job& job) const;

    const Restorer& restorer_;
    const Settings& settings_;
    const Stop& stop_;
    Choices choices_;
};

}  // namespace shadowdiffusion
