// Threads that share loops: each call is divided into parts and returns when all of them are done.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "forks.h"

namespace shadowdiffusion {

// May be called from several threads, which take turns, and in the child of a fork, which begins threads of its own with its
// first loop. Allocates nothing otherwise after its construction.
class Workers final : AtFork {
  public:
    // threads: of the caller and of this together; 0: one per core.
    explicit Workers(unsigned threads = 0);
    ~Workers();
    unsigned threads() const { return others_ + 1; }

    // Calls part(begin, end) for ranges of `grain` that together make up [0, count), in any order, on any thread.
    // `part` must not throw.
    template <class Part>
    void over(std::size_t count, std::size_t grain, const Part& part) {
        run({&part, [](const void* of, std::size_t begin, std::size_t end) {
                 (*static_cast<const Part*>(of))(begin, end);
             }},
            count, grain);
    }

  private:
    struct Task {
        const void* part = nullptr;
        void (*call)(const void*, std::size_t, std::size_t) = nullptr;
    };
    void before_fork() noexcept override;
    void in_parent() noexcept override;
    void in_child() noexcept override;
    void begin_threads();
    void run(Task task, std::size_t count, std::size_t grain);
    void take_parts();
    void serve();

    std::mutex turn_;  // held by the caller whose loop is run
    std::mutex mutex_;
    std::condition_variable begin_, end_;
    Task task_;
    std::size_t count_ = 0, grain_ = 1;
    std::atomic<std::size_t> next_ = 0, busy_ = 0, generation_ = 0;
    bool stopping_ = false;
    unsigned others_ = 0;  // threads beside the caller's, at most
    std::vector<std::thread> threads_;
};

}  // namespace shadowdiffusion
