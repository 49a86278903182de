// The one exception family of the runtime: every message says what was wrong, with which value, and what to do.
#pragma once

#include <stdexcept>

namespace shadowdiffusion {

// Something the caller can act on went wrong; what() is one readable line.
struct RestoreError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A bundle is missing, damaged, of an unknown format version, or not what its manifest says.
struct BundleError : RestoreError {
    using RestoreError::RestoreError;
};

// A photo or mask cannot be read, is not usable, or cannot be written.
struct PhotoError : RestoreError {
    using RestoreError::RestoreError;
};

// An image was too large for the memory of this machine; a smaller one may fit.
struct OutOfMemoryError : RestoreError {
    using RestoreError::RestoreError;
};

// The progress callback asked to stop.
struct Cancelled : RestoreError {
    using RestoreError::RestoreError;
};

}  // namespace shadowdiffusion
