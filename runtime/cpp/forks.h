// Objects that go on to work in the child of a fork, where no thread is left but the one that forked.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>

namespace shadowdiffusion {

// Told of every fork of the process as long as it lives; before it, those that were made last are told first, so that they take
// locks in the order in which calls do.
class AtFork {
  public:
    AtFork(const AtFork&) = delete;
    AtFork& operator=(const AtFork&) = delete;

  protected:
    AtFork();
    virtual ~AtFork();

  private:
    friend struct Forks;
    virtual void before_fork() noexcept {}
    virtual void in_parent() noexcept {}
    virtual void in_child() noexcept {}

    AtFork *older_, *newer_;
};

// A mutex of calls that end by themselves: a fork waits until it is free, so that the child finds whole what it guards. Whoever
// holds it makes and ends no object that is told of forks.
class WaitedForMutex final : AtFork {
  public:
    void lock() { mutex_.lock(); }
    void unlock() { mutex_.unlock(); }

  private:
    void before_fork() noexcept override { mutex_.lock(); }
    void in_parent() noexcept override { mutex_.unlock(); }
    void in_child() noexcept override { mutex_.unlock(); }

    std::mutex mutex_;
};

// A mutex of calls that take long, or in which a callback may fork: a fork does not wait. In the child it is free, unless the
// thread that forked holds it.
class AbandonedMutex final : AtFork {
  public:
    void lock() {
        mutex_.lock();
        holder_ = std::this_thread::get_id();
    }
    void unlock() {
        holder_ = std::thread::id();
        mutex_.unlock();
    }
    bool try_lock() {
        if (!mutex_.try_lock()) return false;
        holder_ = std::this_thread::get_id();
        return true;
    }

  private:
    void in_child() noexcept override;

    std::mutex mutex_;
    std::atomic<std::thread::id> holder_;
};

}  // namespace shadowdiffusion
