// Counts what the test program allocates, by `new` or by std::aligned_alloc (which the linker redirects: --wrap).
#pragma once

#include <cstddef>

// Allocations since the program began, of all threads.
std::size_t allocations();
