#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

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
