// The C interface: the same as the executor, and a line for whatever is wrong.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>

#include "cpu/grid.h"
#include "cpu/header.h"
#include "cpu/plan_file.h"
#include "cpu/running.h"
#include "forking.h"
#include "shadowdiffusion_cpu.h"
#include "temporary.h"

using namespace shadowdiffusion;
namespace fs = std::filesystem;

namespace {

struct Close {
    void operator()(sdcpu_network* network) const { sdcpu_close(network); }
};
using Network = std::unique_ptr<sdcpu_network, Close>;

// A file for one test.
class PlanOnDisk {
  public:
    explicit PlanOnDisk(const std::vector<std::byte>& bytes) : path(folder_.path() / "plan") {
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }

  private:
    TemporaryFolder folder_;

  public:
    const fs::path path;
};

// Arguments of sdcpu_run for the small plan, each to be changed.
struct Arguments {
    Arguments() : row(Numbers(5).some(small::row)), plan(small_plan().parsed()), inputs(inputs_of(plan, 8, 12, 6)) {
        for (const auto& [name, port] : plan.outputs) outputs[name].resize(port.channels * (8 / port.shrink) * (12 / port.shrink));
        for (const auto& [name, planes] : inputs) input_names.push_back(name.c_str()), input_planes.push_back(planes.data());
        for (auto& [name, planes] : outputs) output_names.push_back(name.c_str()), output_planes.push_back(planes.data());
    }
    sdcpu_status run(sdcpu_network* network) {
        std::memset(error, 0, sizeof error);
        return sdcpu_run(network, height, 12, input_names.size(), no_names ? nullptr : input_names.data(), input_planes.data(),
                         no_row ? nullptr : row.data(), row.size(), output_names.size(), output_names.data(),
                         no_outputs ? nullptr : output_planes.data(), error, sizeof error);
    }
    // "" or what went wrong.
    std::string complaint(sdcpu_network* network) {
        const sdcpu_status status = run(network);
        CHECK((status == SDCPU_OK) == (error[0] == 0));
        return error;
    }
    std::size_t height = 8;
    bool no_names = false, no_row = false, no_outputs = false;
    std::vector<float> row;
    Plan plan;
    Planes inputs, outputs;
    std::vector<const char*> input_names, output_names;
    std::vector<const float*> input_planes;
    std::vector<float*> output_planes;
    char error[200] = {};
};

}  // namespace

TEST_CASE("the C interface gives what the executor gives") {
    const PlanOnDisk plan(small_plan().bytes());
    char error[200] = "as it was";
    const Network network(sdcpu_open(plan.path.c_str(), 2, error, sizeof error));
    REQUIRE(network);
    CHECK(std::string(error) == "as it was");
    Workers workers(1);
    CpuNetwork own(small_plan().parsed(), workers);
    Arguments arguments;
    CHECK(arguments.complaint(network.get()) == "");
    CHECK(arguments.outputs == outputs_of(own, 8, 12, arguments.inputs, arguments.row));
    CHECK(std::string(version_from_c()) == "0.1.0.2");
}

TEST_CASE("what cannot be opened is said in a line, as much of it as there is room for") {
    const PlanOnDisk plan({std::byte{1}});
    const std::string path = plan.path.string(), absent = path + ".absent";
    char error[400] = {};
    CHECK(sdcpu_open(path.c_str(), 1, error, sizeof error) == nullptr);
    CHECK(std::string(error) == path + " is no plan of a network: The file ends before its header");
    CHECK(sdcpu_open(absent.c_str(), 1, error, sizeof error) == nullptr);
    CHECK(std::string(error) == absent + " cannot be read: No such file or directory");
    CHECK(sdcpu_open(fs::path(path).parent_path().c_str(), 1, error, sizeof error) == nullptr);
    CHECK(std::string(error).find(" cannot be read: ") != std::string::npos);
    CHECK(sdcpu_open(nullptr, 1, error, sizeof error) == nullptr);
    CHECK(std::string(error) == "path is NULL");
    std::memset(error, 'x', sizeof error);
    CHECK(sdcpu_open(nullptr, 1, error, 5) == nullptr);
    CHECK(std::string(error) == "path");
    CHECK(error[5] == 'x');
    CHECK(sdcpu_open(nullptr, 1, error, 0) == nullptr);
    CHECK(sdcpu_open(nullptr, 1, nullptr, 100) == nullptr);
    CHECK(std::string_view(error, 5) == std::string_view("path\0", 5));
}

TEST_CASE("arguments that cannot be right are refused in a line, and the network goes on") {
    const PlanOnDisk plan(small_plan().bytes());
    const Network network(sdcpu_open(plan.path.c_str(), 1, nullptr, 0));
    REQUIRE(network);
    Arguments arguments;
    SUBCASE("no network") { CHECK(arguments.complaint(nullptr) == "network is NULL"); }
    SUBCASE("no names") {
        arguments.no_names = true;
        CHECK(arguments.complaint(network.get()) == "input_names is NULL");
    }
    SUBCASE("no name") {
        arguments.output_names[0] = nullptr;
        CHECK(arguments.complaint(network.get()) == "an output's name is NULL");
    }
    SUBCASE("no plane") {
        arguments.input_planes[0] = nullptr;
        CHECK(arguments.complaint(network.get()) == "image is NULL");
    }
    SUBCASE("no outputs") {
        arguments.no_outputs = true;
        CHECK(arguments.complaint(network.get()) == "output_planes is NULL");
    }
    SUBCASE("no row") {
        arguments.no_row = true;
        CHECK(arguments.complaint(network.get()) == "row is NULL");
    }
    SUBCASE("an input of another name") {
        arguments.input_names[0] = "other";
        CHECK(arguments.complaint(network.get()) == "the network takes `image`, which is not given");
    }
    SUBCASE("a row too short") {
        arguments.row.pop_back();
        CHECK(arguments.complaint(network.get()) == "the network takes a row of 48 values, not 47");
    }
    SUBCASE("no multiple") {
        arguments.height = 6;
        CHECK(arguments.complaint(network.get()) == "the network takes multiples of 4 pixels, not 12x6");
    }
    SUBCASE("too large") {
        arguments.height = std::size_t{1} << 62;
        CHECK(arguments.run(network.get()) == SDCPU_OUT_OF_MEMORY);
        CHECK(std::string(arguments.error) == "memory ran out");
    }
    Arguments right;
    CHECK(right.complaint(network.get()) == "");
    sdcpu_close(nullptr);
}

TEST_CASE("a network that was opened before a fork runs in the child, also amid runs of another thread") {
    const PlanOnDisk file(small_plan().bytes());
    char error[200] = "";
    const Network network(sdcpu_open(file.path.c_str(), 3, error, sizeof error));
    REQUIRE(network);
    Arguments before;
    REQUIRE(before.complaint(network.get()) == "");
    const auto same = [&] {
        Arguments arguments;
        return arguments.run(network.get()) == SDCPU_OK && arguments.outputs == before.outputs;
    };
    CHECK(in_child(same) == 0);
    std::atomic<bool> stop = false;
    std::thread other([&] {
        while (!stop) same();
    });
    for (int i = 0; i < 10; ++i) CHECK(in_child([&] { return same() && same(); }) == 0);
    stop = true;
    other.join();
}
