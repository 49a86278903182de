#include "batch/flight.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

namespace shadowdiffusion {

void restore_all(std::span<const Job> jobs, const std::function<Outcome(const Job&)>& work, std::size_t in_flight,
                 const Stop& stop, const std::function<void(Outcome)>& landed) {
    std::mutex mutex;
    std::condition_variable changed;
    std::queue<Outcome> finished;
    std::size_t next = 0, told = 0, flying = std::min(in_flight, jobs.size());

    const auto fly = [&] {
        std::unique_lock lock(mutex);
        while (next < jobs.size() && !stop.asked()) {
            const Job& job = jobs[next++];
            lock.unlock();
            Outcome outcome = work(job);
            lock.lock();
            finished.push(std::move(outcome));
            changed.notify_all();
            changed.wait(lock, [&] { return next < told + in_flight || stop.asked(); });
        }
        --flying;
        changed.notify_all();
    };

    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(in_flight, jobs.size()); ++i) threads.emplace_back(fly);
    std::unique_lock lock(mutex);
    while (true) {
        changed.wait(lock, [&] { return !finished.empty() || flying == 0; });
        if (finished.empty()) return;
        Outcome outcome = std::move(finished.front());
        finished.pop();
        lock.unlock();
        landed(std::move(outcome));
        lock.lock();
        ++told;
        changed.notify_all();
    }
}

}  // namespace shadowdiffusion
