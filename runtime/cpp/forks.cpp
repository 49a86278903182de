#include "forks.h"

#include <pthread.h>

#include <new>

namespace shadowdiffusion {

// All that are told, the one made last first.
struct Forks {
    static std::mutex mutex;  // held during a fork
    static AtFork* newest;

    static void before() noexcept {
        mutex.lock();
        for (AtFork* at = newest; at; at = at->older_) at->before_fork();
    }
    static void in_parent() noexcept {
        for (AtFork* at = newest; at; at = at->older_) at->in_parent();
        mutex.unlock();
    }
    static void in_child() noexcept {
        for (AtFork* at = newest; at; at = at->older_) at->in_child();
        mutex.unlock();
    }
};

std::mutex Forks::mutex;
AtFork* Forks::newest = nullptr;

AtFork::AtFork() {
    // where it fails, memory has run out: the child of a fork is then on its own
    static const int registered = ::pthread_atfork(Forks::before, Forks::in_parent, Forks::in_child);
    static_cast<void>(registered);
    const std::lock_guard lock(Forks::mutex);
    older_ = Forks::newest, newer_ = nullptr;
    if (older_) older_->newer_ = this;
    Forks::newest = this;
}

AtFork::~AtFork() {
    const std::lock_guard lock(Forks::mutex);
    (newer_ ? newer_->older_ : Forks::newest) = older_;
    if (older_) older_->newer_ = newer_;
}

void AbandonedMutex::in_child() noexcept {
    if (holder_.load() == std::this_thread::get_id()) return;
    new (&mutex_) std::mutex;  // it has no destructor to call
    holder_ = std::thread::id();
}

}  // namespace shadowdiffusion
