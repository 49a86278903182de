// An open file, closed in the end.
#pragma once

#include <unistd.h>

#include <utility>

namespace shadowdiffusion {

class Descriptor {
  public:
    // file: what ::open gave, below 0 for none.
    explicit Descriptor(int file) : file_(file) {}
    Descriptor(Descriptor&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (file_ >= 0) ::close(file_);
    }

    int get() const { return file_; }

  private:
    int file_;
};

}  // namespace shadowdiffusion
