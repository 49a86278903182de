// One photo from file to file: is it done already, whose turn is it, read, restore, write. Twin of
// runtime/batch/work.py.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "batch/claims.h"
#include "batch/masks.h"
#include "batch/notes.h"
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
        bool overwrite = false;        // replace what is something else
        bool force = false;            // make again what is done
        std::function<void(const Job&, int, int)> on_step;
        Warn warn;
    };

    Worker(const Restorer& restorer, const Settings& settings, const Stop& stop, Choices choices)
        : restorer_(restorer), settings_(settings), stop_(stop), choices_(std::move(choices)) {}

    // Restore one photo; whatever goes wrong is in the outcome. A photo that another process is at is "busy", or if
    // `patient` is waited for.
    Outcome operator()(const Job& job, bool patient = false) noexcept;

  private:
    // A result that is to be made, and whether it replaces something.
    struct Due {
        Kind kind;
        std::string path;
        bool replaces;
    };

    void process(const Job& job, bool patient, Outcome& outcome);
    std::vector<Due> due(const Job& job, const Origin& origin, const std::optional<std::string>& mask);
    std::optional<Claim> claimed(const Job& job, bool patient) const;
    void write(const std::vector<Due>& wanted, Photo& photo, Restored& restored, const Origin& origin, Format form,
               Outcome& outcome);
    void note(const std::string& path, const Origin& origin, const std::string& file);
    Notes& notes_beside(const std::string& path);
    Options options(const Job& job, bool with_mask) const;

    const Restorer& restorer_;
    const Settings& settings_;
    const Stop& stop_;
    Choices choices_;
    std::map<std::string, Notes, std::less<>> notes_;  // by folder
    std::mutex mutex_;
};

}  // namespace shadowdiffusion
