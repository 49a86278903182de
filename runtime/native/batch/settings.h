// How photos are restored and written, the same for every photo of a run. Twin of runtime/batch/settings.py.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bundle/manifest.h"
#include "photo/formats.h"

namespace shadowdiffusion {

// JSON that is written for others: fields stay in their order.
using Record = nlohmann::ordered_json;

// What the command line says, with the bundle's choices filled in.
struct Settings {
    std::string bundle;  // stands for everything in the bundle that a result depends on
    std::int64_t steps = 0;
    std::uint64_t seed = 0;
    double strength = 1;
    std::optional<std::int64_t> working_size;  // none: the photo's own size
    std::optional<int> quality;  // of lossy files; none: the usual

    // The quality to write a format with.
    std::optional<int> quality_in(Format form) const { return is_lossy(form) ? quality : std::nullopt; }

    // What a result in that format depends on.
    Record record(Format form) const;
};

// SHA-256, hexadecimal, of the networks, how they are run, and nothing else: the same as in the Python runtime.
std::string identity(const Manifest& manifest);

}  // namespace shadowdiffusion
