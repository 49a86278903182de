// Threads that share loops: each call is divided into parts and returns when all of them are done.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace shadowdiffusion {

// May be called from several threads, which take turns. Allocates nothing after its construction.
class Workers {
  public:
    // threads: of the caller and of this together; 0: one per core.
    explicit Workers(unsigned threads = 0);
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    unsigned threads() const { return static_cast<unsigned>(threads_.size()) + 1; }

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
    std::vector<std::thread> threads_;
};

}  // namespace shadowdiffusion
