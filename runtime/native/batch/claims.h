// One process at a time makes a result: `.NAME.lock` beside it is locked meanwhile, for the Python runtime too. Twin of
// runtime/batch/claims.py.
//
// The lock dies with its process. A file that is left behind says that one was killed, and what else it left is
// removed.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "descriptor.h"

namespace shadowdiffusion {

// The right to write a result, which ends with this object.
class Claim {
  public:
    Claim(std::string path, Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}
    Claim(Claim&& other) noexcept : path_(std::exchange(other.path_, {})), file_(std::move(other.file_)) {}
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    ~Claim();

  private:
    std::string path_;  // "": moved away
    Descriptor file_;
};

// Claim the first of these files, in a folder that exists, and with it the others, which are made along with it;
// nothing if another process has it. Throws std::system_error.
std::optional<Claim> claim(std::span<const std::string> targets);

}  // namespace shadowdiffusion
