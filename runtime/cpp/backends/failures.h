// What to throw where a backend fails, whichever it is.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <string_view>

namespace shadowdiffusion {

// A message of several lines as one.
std::string one_line(std::string_view message);

// Throws RestoreError, or OutOfMemoryError where the message says so: a graph failed on images of height x width.
[[noreturn]] void throw_failure(std::string_view name, std::size_t height, std::size_t width,
                                const std::exception& error);

// Whether all values are numbers.
bool all_finite(std::span<const float> values);

}  // namespace shadowdiffusion
