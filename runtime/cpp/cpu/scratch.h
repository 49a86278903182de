// Memory for parts of loops that threads share: one piece for each thread, kept from loop to loop.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "cpu/panels.h"
#include "workers.h"

namespace shadowdiffusion {

class Scratch {
  public:
    explicit Scratch(Workers& workers) : workers_(workers) {}

    // From now on pieces have so many floats or more. Throws std::bad_alloc, after which there are none.
    void prepare(std::size_t floats) {
        const std::size_t size = (floats + LANES - 1) / LANES * LANES, threads = workers_.threads();
        free_.clear();
        if (memory_.count() < size * threads) memory_ = Values(), memory_ = Values(size * threads);
        for (std::size_t i = 0; i < threads; ++i) free_.push_back(memory_.data() + i * size);
    }

    // part(index, piece) for all below `count`, on all threads; pieces are aligned to 64 bytes.
    template <class Part>
    void over(std::size_t count, const Part& part) {
        workers_.over(count, 1, [&](std::size_t begin, std::size_t end) {
            float* const piece = take();
            for (std::size_t i = begin; i < end; ++i) part(i, piece);
            const std::lock_guard lock(mutex_);
            free_.push_back(piece);
        });
    }

  private:
    float* take() {
        const std::lock_guard lock(mutex_);
        float* const piece = free_.back();
        free_.pop_back();
        return piece;
    }

    Workers& workers_;
    Values memory_;
    std::mutex mutex_;
    std::vector<float*> free_;
};

}  // namespace shadowdiffusion
