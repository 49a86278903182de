#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "batch/flight.h"

using namespace shadowdiffusion;

TEST_CASE("what others are at comes last, and is waited for") {
    std::vector<Job> jobs;
    for (int i = 0; i < 20; ++i) jobs.push_back({std::to_string(i), "", {{Kind::photo, std::to_string(i)}}});
    std::atomic<int> patiently = 0;
    const auto work = [&](const Job& job, bool patient) {
        Outcome outcome;
        outcome.input = job.source;
        patiently += patient;
        outcome.status = job.source.size() == 1 && !patient ? Status::busy : Status::restored;
        return outcome;
    };
    std::vector<std::string> landed;
    const Stop stop;
    restore_all(jobs, work, 3, stop, [&](const Outcome& outcome) {
        CHECK(outcome.status == Status::restored);
        landed.push_back(outcome.input);
    });
    CHECK(landed.size() == 20);
    CHECK(patiently == 10);
    for (std::size_t i = 0; i < landed.size(); ++i) CHECK((landed[i].size() == 1) == (i >= 10));
}

TEST_CASE("no more are in hand than asked for, and asked to stop nothing is begun") {
    const std::vector<Job> jobs(100, Job{"a", "a", {{Kind::photo, "b"}}});
    Stop stop;
    std::atomic<int> begun = 0, told = 0;
    const auto work = [&](const Job&, bool) {
        const int now = ++begun;  // before `told` is read, which only grows
        CHECK(now - told <= 3);
        return Outcome{};
    };
    restore_all(jobs, work, 3, stop, [&](const Outcome&) {
        if (++told == 10) stop.now();
    });
    CHECK(begun >= 10);
    CHECK(begun <= 13);
    CHECK(told == begun);
}
