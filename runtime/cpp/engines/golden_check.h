// The first time an engine is loaded on a machine, the golden example is run through it; the result is remembered. Twin
// of runtime/selection/golden_check.py, which says why.
//
// The check runs in this process. That it has begun is noted before: an engine that takes the process with it is not
// tried again. The cache is a convenience: where it cannot be written, the engine is checked each time.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "backends/networks.h"
#include "bundle/bundle.h"
#include "engines/store.h"
#include "workers.h"

namespace shadowdiffusion {

// The outcome of one check.
struct Verdict {
    double least = 0;            // PSNR in dB that is needed
    std::optional<double> psnr;  // the one that was reached; none if there was no result
    std::string problem;         // why there was none

    // Why the engine cannot be trusted, as a phrase, or nothing if it can.
    std::optional<std::string> failure() const;
};

// Networks by their title, for people, and a word that changes with them.
struct Checked {
    std::string title, digest;
};

// What an earlier check of exactly these networks on this device found, else what `check` finds now, which is remembered.
// subject: what is checked, in a word, and all that it depends on beside them. `say` hears of a check that is made now.
// Checks of several processes take turns.
Verdict verdict_of(const Checked& networks, const std::string& device, const std::string& subject, double least,
                   const std::function<double()>& check, const std::function<void(const std::string&)>& say);

// PSNR in dB that an engine must reach on the golden example: less where its accuracy gate was content with less.
double least_psnr(const StoredEngine& engine);

// PSNR in dB of the engine on the golden example, at most 200, with all networks that it has. Throws RestoreError if there
// is no finite result, or if an output of a network is not near that of the portable one.
double golden_psnr(const Bundle& bundle, const StoredEngine& engine, Networks& networks, Networks& portable, Workers& workers);

// The same where nothing else runs networks: against the result that the bundle has of its golden example, at its own size.
double golden_psnr(const Bundle& bundle, Networks& networks, Workers& workers);

}  // namespace shadowdiffusion
