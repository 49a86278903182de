// The executor: a small network with all kinds of steps against the same in double precision.
#include <doctest/doctest.h>

#include <thread>

#include "allocations.h"
#include "cpu/grid.h"
#include "cpu/plan_file.h"
#include "cpu/running.h"
#include "errors.h"

using namespace shadowdiffusion;

namespace {

using Sizes = std::vector<std::pair<std::size_t, std::size_t>>;
const Sizes SIZES = {{64, 64}, {8, 12}, {4, 4}, {56, 100}, {60, 40}, {64, 64}};

// Networks that between them have steps of all kinds.
struct Kind {
    const char* name;
    PlanFile (*plan)();
    Sizes sizes;
};
const Kind KINDS[] = {{"small", small_plan, SIZES}, {"prior", prior_plan, {{48, 80}, {16, 16}, {16, 48}, {32, 16}, {48, 80}}}};

std::vector<float> row_of(const Plan& plan) { return Numbers(5).some(plan.row); }
std::vector<float> some_row() { return Numbers(5).some(small::row); }

std::string complaint(CpuNetwork& network, std::size_t height, std::size_t width, const Planes& inputs, std::span<const float> row) {
    std::vector<NamedInput> given;
    for (const auto& [name, planes] : inputs) given.push_back({name, planes.data()});
    try {
        network.run(height, width, given, row, {});
        return "";
    } catch (const RestoreError& error) {
        return error.what();
    }
}

}  // namespace

TEST_CASE("a network gives what its plan says, at one size after the other") {
    Workers workers(2);
    for (const Kind& kind : KINDS) {
        CAPTURE(kind.name);
        CpuNetwork network(kind.plan().parsed(), workers);
        const std::vector<float> row = row_of(network.plan());
        for (const auto& [height, width] : kind.sizes) {
            CAPTURE(height);
            CAPTURE(width);
            const Planes inputs = inputs_of(network.plan(), height, width, 6);
            const auto right = run_naively(network.plan(), height, width, inputs, row);
            const Planes made = outputs_of(network, height, width, inputs, row);
            REQUIRE(made.size() == 2);
            for (const auto& [name, planes] : made)
                CHECK(relative_l2(std::vector<double>(planes.begin(), planes.end()), right.at(name)) < 5e-6);
        }
    }
}

TEST_CASE("a prior without a veil, or that is not calibrated, gives what its plan says") {
    Workers workers(2);
    for (const char* left_out : {"veil", "trust"}) {
        CAPTURE(left_out);
        PlanFile file = prior_plan();
        file.step(prior::degradation)[left_out] = nullptr;
        CpuNetwork network(file.parsed(), workers);
        const Planes inputs = inputs_of(network.plan(), 32, 48, 6), made = outputs_of(network, 32, 48, inputs, row_of(network.plan()));
        for (const auto& [name, right] : run_naively(network.plan(), 32, 48, inputs, row_of(network.plan())))
            CHECK(relative_l2(std::vector<double>(made.at(name).begin(), made.at(name).end()), right) < 5e-6);
    }
}

TEST_CASE("a network's outcome is the same to the bit for any number of threads, and after any other image") {
    Workers one(1);
    for (const Kind& kind : KINDS)
        for (const unsigned threads : {1u, 2u, 5u}) {
            Workers workers(threads);
            CpuNetwork network(kind.plan().parsed(), workers);
            const std::vector<float> row = row_of(network.plan());
            for (const auto& [height, width] : kind.sizes) {
                CpuNetwork fresh(kind.plan().parsed(), one);
                const Planes inputs = inputs_of(network.plan(), height, width, 7);
                const Planes right = outputs_of(fresh, height, width, inputs, row);
                CHECK(outputs_of(network, height, width, inputs, row) == right);
                outputs_of(network, height, width, inputs_of(network.plan(), height, width, 8), std::vector<float>(row.size(), 1e30f));
                CHECK(outputs_of(network, height, width, inputs, row) == right);
            }
        }
}

TEST_CASE("it does not depend on the order in which maps are listed") {
    Workers workers(2);
    CpuNetwork network(small_plan().parsed(), workers), backwards(small_plan_backwards().parsed(), workers);
    for (const auto& [height, width] : SIZES) {
        const Planes inputs = inputs_of(network.plan(), height, width, 7);
        CHECK(outputs_of(network, height, width, inputs, some_row()) == outputs_of(backwards, height, width, inputs, some_row()));
    }
}

TEST_CASE("many channels of few pixels are divided among threads, and nothing changes") {
    Workers one(1);
    CpuNetwork alone(wide_plan().parsed(), one);
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{1, 1}, {5, 12}, {9, 14}, {16, 12}, {33, 40}}) {
        const Planes inputs = inputs_of(alone.plan(), height, width, 7), made = outputs_of(alone, height, width, inputs, {});
        const std::vector<double> right = run_naively(alone.plan(), height, width, inputs, {}).at("out");
        CHECK(relative_l2(std::vector<double>(made.at("out").begin(), made.at("out").end()), right) < 5e-6);
        for (const unsigned threads : {2u, 3u, 5u}) {
            Workers workers(threads);
            CpuNetwork network(wide_plan().parsed(), workers);
            CHECK(outputs_of(network, height, width, inputs, {}) == made);
        }
    }
}

TEST_CASE("calls from several threads take turns") {
    Workers workers(2);
    CpuNetwork network(small_plan().parsed(), workers);
    const std::vector<float> row = some_row();
    const auto inputs = [&](std::size_t size) { return inputs_of(network.plan(), size, size, 9); };
    const Planes large = outputs_of(network, 48, 48, inputs(48), row), little = outputs_of(network, 8, 8, inputs(8), row);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> callers;
    for (const std::size_t size : {48u, 8u, 48u})
        callers.emplace_back([&, size] {
            for (int i = 0; i < 5; ++i) wrong += outputs_of(network, size, size, inputs(size), row) != (size == 48 ? large : little);
        });
    for (std::thread& caller : callers) caller.join();
    CHECK(wrong == 0);
}

TEST_CASE("after the first image of a size, a network allocates nothing") {
    Workers workers(2);
    for (const Kind& kind : KINDS) {
        CpuNetwork network(kind.plan().parsed(), workers);
        const std::vector<float> row = row_of(network.plan());
        for (const auto& [height, width] : kind.sizes) {
            const Planes inputs = inputs_of(network.plan(), height, width, 6);
            Call call(network.plan(), height, width, inputs);
            const std::size_t none = allocations();
            call(network, row);
            const std::size_t before = allocations();
            CHECK(before > none);
            call(network, row);
            CHECK(allocations() == before);
        }
    }
}

TEST_CASE("outputs that are not named are not made") {
    Workers workers(1);
    for (const Kind& kind : KINDS) {
        CpuNetwork network(kind.plan().parsed(), workers);
        const std::vector<float> row = row_of(network.plan());
        const Planes inputs = inputs_of(network.plan(), 16, 32, 6), all = outputs_of(network, 16, 32, inputs, row);
        for (const auto& [name, right] : all) {
            Call call(network.plan(), 16, 32, inputs, name);
            call(network, row);
            CHECK(call.outputs.at(name) == right);
        }
    }
}

TEST_CASE("each input that is missing is named") {
    Workers workers(2);
    for (const Kind& kind : KINDS) {
        CpuNetwork network(kind.plan().parsed(), workers);
        const std::vector<float> row = row_of(network.plan());
        const Planes inputs = inputs_of(network.plan(), 16, 32, 6), right = outputs_of(network, 16, 32, inputs, row);
        for (const auto& [name, _] : inputs) {
            Planes fewer = inputs;
            fewer.erase(name);
            CHECK(complaint(network, 16, 32, fewer, row) == "the network takes `" + name + "`, which is not given");
        }
        CHECK(outputs_of(network, 16, 32, inputs, row) == right);
    }
}

TEST_CASE("images that are no multiples and rows of a wrong length are refused, and the network goes on") {
    Workers workers(2);
    CpuNetwork network(small_plan().parsed(), workers);
    const std::vector<float> row = some_row();
    const Planes inputs = inputs_of(network.plan(), 8, 12, 6), right = outputs_of(network, 8, 12, inputs, row);
    CHECK(complaint(network, 8, 14, inputs, row) == "the network takes multiples of 4 pixels, not 14x8");
    CHECK(complaint(network, 10, 12, inputs, row) == "the network takes multiples of 4 pixels, not 12x10");
    CHECK(complaint(network, 0, 12, inputs, row) == "the network takes multiples of 4 pixels, not 12x0");
    CHECK(complaint(network, 8, 12, inputs, std::span(row).first(47)) == "the network takes a row of 48 values, not 47");
    CHECK(complaint(network, 8, 12, inputs, {}) == "the network takes a row of 48 values, not 0");
    CHECK(outputs_of(network, 8, 12, inputs, row) == right);
}

TEST_CASE("images that no memory holds are refused, and the network goes on") {
    Workers workers(1);
    CpuNetwork network(small_plan().parsed(), workers);
    const Planes inputs = inputs_of(network.plan(), 8, 12, 6), right = outputs_of(network, 8, 12, inputs, some_row());
    // of the last one, heights and widths multiply to nothing
    for (const std::size_t side : {std::size_t{1} << 24, std::size_t{1} << 28, std::size_t{1} << 33, std::size_t{1} << 62})
        CHECK_THROWS_AS(complaint(network, side, side, inputs, some_row()), std::bad_alloc);
    CHECK_THROWS_AS(complaint(network, std::size_t{1} << 62, 4, inputs, some_row()), std::bad_alloc);
    CHECK(outputs_of(network, 8, 12, inputs, some_row()) == right);
}

TEST_CASE("a plan without convolutions copies") {
    Workers workers(2);
    CpuNetwork network(copying_plan().parsed(), workers);
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{1, 1}, {7, 3}, {31, 57}}) {
        const Planes inputs = inputs_of(network.plan(), height, width, 6);
        CHECK(outputs_of(network, height, width, inputs, {}).at("out") == inputs.at("in"));
    }
}
