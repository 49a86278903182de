// How photos are restored and written, the same for every photo of a run. Twin of runtime/batch/settings.py.
#pragma once

#include <cstdint>
#include <optional>

namespace shadowdiffusion {

// What the command line says, with the bundle's choices filled in.
struct Settings {
    std::int64_t steps = 0;
    std::uint64_t seed = 0;
    double strength = 1;
    std::optional<std::int64_t> working_size;  // none: the photo's own size
    std::optional<int> quality;  // of lossy files; none: the usual
};

}  // namespace shadowdiffusion
