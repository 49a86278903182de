// Which networks restore the photos: the first in line that can be had.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/bundle.h"
#include "restorer.h"
#include "workers.h"

namespace shadowdiffusion {

struct LoadOptions {
    std::string backend = "auto";  // "auto" or one of backends()
    unsigned threads = 0;          // CPU threads; 0: one per core
    std::function<void(const std::string&)> say = [](const std::string&) {};  // hears why others were passed over
};

// Names of the backends that this library was built with, the fastest first.
std::vector<std::string> backends();

// Throws RestoreError unless it is "auto" or a backend that was built in.
void check_backend(const std::string& name);

// The loop to use: that of the backend that was named, else of the first that can be had. `bundle` and `workers` must
// outlive it. Throws RestoreError, with the reasons, where there is none.
std::unique_ptr<Loop> choose(const Bundle& bundle, const LoadOptions& options, Workers& workers);

}  // namespace shadowdiffusion
