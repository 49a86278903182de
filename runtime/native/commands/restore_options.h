// The options of `shadowdiffusion-native`: those of `shadowdiffusion restore`, by the same names. Twin of
// runtime/commands/restore_options.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "batch/plan.h"

namespace shadowdiffusion {

struct RestoreOptions {
    std::vector<std::string> photos;
    WantedFiles wanted;
    std::optional<int> quality;
    std::optional<std::string> mask;
    double strength = 1;
    std::optional<std::int64_t> steps;
    std::uint64_t seed = 0;
    std::optional<std::int64_t> working_size;
    bool native = false;  // run the networks at the photo's own size
    std::optional<std::string> task;  // "shadow", "low-light" or "exposure"
    std::optional<std::string> bundle;
    std::string backend = "auto";
    unsigned threads = 0;  // 0: all cores
    std::size_t jobs = 3;  // one is read, one in the networks, one written
    bool overwrite = false, force = false, json = false, quiet = false;
};

// What the words after the name of the program say. Throws RestoreError where that makes no sense; prints and returns
// nothing for --help and --version.
std::optional<RestoreOptions> parse(int count, const char* const* words);

}  // namespace shadowdiffusion
