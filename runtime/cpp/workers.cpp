#include "workers.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>

namespace shadowdiffusion {

namespace {

// Looks again and again for up to a tenth of a millisecond whether `done`, as loops follow each other faster than a thread
// wakes up.
template <class Done>
bool spin(const Done& done) {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::microseconds(100);
    do {
        for (int i = 0; i < 16; ++i) {
            if (done()) return true;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            __asm__ __volatile__("yield");
#endif
        }
    } while (Clock::now() < end);
    return done();
}

}  // namespace

Workers::Workers(unsigned threads) {
    if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
    others_ = threads - 1;
    begin_threads();
    others_ = static_cast<unsigned>(threads_.size());
}

void Workers::begin_threads() {
    try {
        threads_.reserve(others_);
        while (threads_.size() < others_) threads_.emplace_back([this] { serve(); });
    } catch (const std::exception&) {  // no more threads can be had: fewer do as well
    }
}

// A loop is waited for, so that no worker is amid a part of it.
void Workers::before_fork() noexcept { turn_.lock(); }

void Workers::in_parent() noexcept { turn_.unlock(); }

// The threads are gone, and with them whoever held a lock. What would wait for them is left where it is.
void Workers::in_child() noexcept {
    new (&mutex_) std::mutex;
    new (&begin_) std::condition_variable;
    new (&end_) std::condition_variable;
    new (&threads_) std::vector<std::thread>;
    generation_ = 0;
    turn_.unlock();
}

Workers::~Workers() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    begin_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

void Workers::run(Task task, std::size_t count, std::size_t grain) {
    grain = std::max<std::size_t>(grain, 1);
    if (others_ == 0 || count <= grain) {
        if (count > 0) task.call(task.part, 0, count);
        return;
    }
    const std::lock_guard turn(turn_);
    if (threads_.empty()) begin_threads();  // in the child of a fork
    {
        const std::lock_guard lock(mutex_);
        task_ = task, count_ = count, grain_ = grain;
        next_ = 0;
        busy_ = threads_.size();
        ++generation_;
    }
    begin_.notify_all();
    take_parts();
    if (spin([this] { return busy_ == 0; })) return;
    std::unique_lock lock(mutex_);
    end_.wait(lock, [this] { return busy_ == 0; });
}

void Workers::take_parts() {
    for (;;) {
        const std::size_t begin = next_.fetch_add(grain_, std::memory_order_relaxed);
        if (begin >= count_) return;
        task_.call(task_.part, begin, std::min(begin + grain_, count_));
    }
}

void Workers::serve() {
    std::size_t seen = 0;
    for (;;) {
        spin([&] { return generation_ != seen; });
        std::unique_lock lock(mutex_);
        begin_.wait(lock, [&] { return stopping_ || generation_ != seen; });
        if (stopping_) return;
        seen = generation_;
        lock.unlock();
        take_parts();
        if (--busy_ == 0) {
            const std::lock_guard last(mutex_);  // the caller is waiting by now, or has seen it
            end_.notify_one();
        }
    }
}

}  // namespace shadowdiffusion
