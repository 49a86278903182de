#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <thread>
#include <vector>

#include "forking.h"
#include "workers.h"

using shadowdiffusion::Workers;

TEST_CASE("every element is visited once, by any number of threads and callers") {
    for (const unsigned threads : {1u, 2u, 5u}) {
        Workers workers(threads);
        CHECK(workers.threads() == threads);
        std::vector<std::thread> callers;
        std::atomic<int> wrong = 0;
        for (int caller = 0; caller < 3; ++caller)
            callers.emplace_back([&] {
                for (const std::size_t count : {0u, 1u, 7u, 1000u}) {
                    std::vector<int> visits(count);
                    workers.over(count, 3, [&](std::size_t begin, std::size_t end) {
                        for (std::size_t i = begin; i < end; ++i) ++visits[i];
                    });
                    for (const int visit : visits) wrong += visit != 1;
                }
            });
        for (std::thread& caller : callers) caller.join();
        CHECK(wrong == 0);
    }
}

TEST_CASE("loops follow each other at once or after pauses, and each sees what the one before has written") {
    for (const unsigned threads : {2u, 3u}) {
        Workers workers(threads);
        std::vector<int> values(64);
        int wrong = 0;
        for (int loop = 0; loop < 600; ++loop) {
            // workers look for the next loop for a tenth of a millisecond, then sleep
            if (loop % 20 == 0) std::this_thread::sleep_for(std::chrono::microseconds(loop % 40 == 0 ? 100 : 400));
            workers.over(values.size(), 1, [&](std::size_t begin, std::size_t end) {
                for (std::size_t i = begin; i < end; ++i) values[i] += 1;
            });
            for (const int value : values) wrong += value != loop + 1;
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("workers end at any time, while they look for a loop or asleep") {
    for (int pause = 0; pause < 300; pause += 10) {
        Workers workers(3);
        std::atomic<std::size_t> visited = 0;
        workers.over(5, 1, [&](std::size_t begin, std::size_t end) { visited += end - begin; });
        CHECK(visited == 5);
        std::this_thread::sleep_for(std::chrono::microseconds(pause));
    }
}

TEST_CASE("in the child of a fork, workers share loops as before, and so do those of a child of it") {
    Workers workers(3);
    const auto shared = [&] {
        std::vector<int> visits(1000);
        workers.over(visits.size(), 1, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) ++visits[i];
        });
        return visits == std::vector<int>(1000, 1);
    };
    const auto threads = [] {
        const std::filesystem::directory_iterator tasks("/proc/self/task");
        return std::distance(begin(tasks), end(tasks));
    };
    CHECK(shared());
    CHECK(in_child([&] {
              const bool alone = threads() == 1;
              return alone && shared() && threads() == 3 && in_child(shared) == 0 && shared() && threads() == 3;
          }) == 0);
    CHECK(shared());
}

TEST_CASE("a fork amid the loops of other threads leaves a child that works") {
    Workers workers(2);
    std::atomic<bool> stop = false;
    std::vector<std::thread> callers;
    std::atomic<std::size_t> visited = 0;
    const auto loop = [&] {
        std::atomic<std::size_t> count = 0;
        workers.over(100, 1, [&](std::size_t begin, std::size_t end) { count += end - begin; });
        return count == 100;
    };
    for (int i = 0; i < 2; ++i)
        callers.emplace_back([&] {
            while (!stop) visited += loop();
        });
    for (int i = 0; i < 20; ++i) CHECK(in_child(loop) == 0);
    stop = true;
    for (std::thread& caller : callers) caller.join();
    CHECK(visited > 0);
    CHECK(in_child([&] {
              const Workers others(2);  // ends in the child
              return others.threads() == 2;
          }) == 0);
}
