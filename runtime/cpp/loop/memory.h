// How much memory this process may still take: of the machine, and of the containers that it runs in. Twin of
// runtime/loop/memory.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace shadowdiffusion {

// Bytes that can be had without swapping, none where the system does not say (only Linux does).
std::optional<std::int64_t> available_memory(const std::filesystem::path& proc = "/proc",
                                             const std::filesystem::path& cgroups = "/sys/fs/cgroup");

// Bytes of memory that this process has, 0 where the system does not say.
std::int64_t own_memory(const std::filesystem::path& proc = "/proc");

}  // namespace shadowdiffusion
