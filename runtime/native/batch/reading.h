// The bytes of a photo or mask, from a file or from stdin. Twin of runtime/batch/reading.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "batch/stopping.h"

namespace shadowdiffusion {

// The whole of a file, or of stdin for "-". Throws PhotoError, and Stopped while waiting for stdin.
std::vector<std::uint8_t> read_bytes(const std::string& path, const Stop& stop);

}  // namespace shadowdiffusion
