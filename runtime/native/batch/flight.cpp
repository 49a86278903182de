#include "batch/flight.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <queue>
#include <thread>
#include <utility>
#include <vector>

namespace shadowdiffusion {
namespace {

void fly(std::span<const Job> jobs, const std::function<Outcome(const Job&)>& work, std::size_t in_flight,
         const Stop& stop, const std::function<void(const Job&, Outcome)>& landed) {
    std::mutex mutex;
    std::condition_variable changed;
    std::queue<std::pair<const Job*, Outcome>> finished;
    std::size_t next = 0, told = 0, flying = std::min(in_flight, jobs.size());

    const auto work_on = [&] {
        std::unique_lock lock(mutex);
        const auto may_begin = [&] { return next < told + in_flight || next == jobs.size() || stop.asked(); };
        while (changed.wait(lock, may_begin), next < jobs.size() && !stop.asked()) {
            const Job& job = jobs[next++];
            lock.unlock();
            Outcome outcome = work(job);
            lock.lock();
            finished.emplace(&job, std::move(outcome));
            changed.notify_all();
        }
        --flying;
        changed.notify_all();
    };

    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::min(in_flight, jobs.size()); ++i) threads.emplace_back(work_on);
    std::unique_lock lock(mutex);
    while (true) {
        changed.wait(lock, [&] { return !finished.empty() || flying == 0; });
        if (finished.empty()) return;
        auto [job, outcome] = std::move(finished.front());
        finished.pop();
        lock.unlock();
        landed(*job, std::move(outcome));
        lock.lock();
        ++told;
        changed.notify_all();
    }
}

}  // namespace

void restore_all(std::span<const Job> jobs, const Work& work, std::size_t in_flight, const Stop& stop,
                 const std::function<void(Outcome)>& landed) {
    std::vector<Job> busy;
    fly(jobs, [&](const Job& job) { return work(job, false); }, in_flight, stop, [&](const Job& job, Outcome outcome) {
        if (outcome.status == Status::busy)
            busy.push_back(job);
        else
            landed(std::move(outcome));
    });
    fly(busy, [&](const Job& job) { return work(job, true); }, in_flight, stop,
        [&](const Job&, Outcome outcome) { landed(std::move(outcome)); });
}

}  // namespace shadowdiffusion
