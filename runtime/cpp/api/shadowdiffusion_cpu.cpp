#include "shadowdiffusion_cpu.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <new>
#include <string_view>
#include <vector>

#include "cpu/network.h"
#include "errors.h"
#include "text.h"

namespace {

using namespace shadowdiffusion;

void say(char* error, std::size_t size, std::string_view line) {
    if (error == nullptr || size == 0) return;
    const std::size_t count = std::min(line.size(), size - 1);
    std::memcpy(error, line.data(), count);
    error[count] = 0;
}

// `work`, with whatever it throws as a status and a line.
template <class Work>
sdcpu_status attempt(char* error, std::size_t size, const Work& work) {
    try {
        work();
        return SDCPU_OK;
    } catch (const std::bad_alloc&) {
        say(error, size, "memory ran out");
        return SDCPU_OUT_OF_MEMORY;
    } catch (const std::exception& failure) {
        say(error, size, failure.what());
    } catch (...) {
        say(error, size, "unknown failure");
    }
    return SDCPU_ERROR;
}

template <class T>
T* needed(T* pointer, const char* name) {
    if (pointer == nullptr) throw RestoreError(text(name, " is NULL"));
    return pointer;
}

}  // namespace

struct sdcpu_network {
    sdcpu_network(Plan plan, unsigned threads) : workers(threads), network(std::move(plan), workers) {}
    Workers workers;
    CpuNetwork network;
};

const char* sdcpu_version(void) { return shadowdiffusion::cpu_kernels_version(); }

sdcpu_network* sdcpu_open(const char* path, unsigned threads, char* error, size_t error_size) {
    sdcpu_network* made = nullptr;
    attempt(error, error_size, [&] { made = new sdcpu_network(read_plan(needed(path, "path")), threads); });
    return made;
}

sdcpu_status sdcpu_port(const sdcpu_network* network, const char* name, size_t* channels, size_t* shrink, char* error,
                        size_t error_size) {
    return attempt(error, error_size, [&] {
        const Plan& plan = network->network.plan();
        for (const auto* ports : {&plan.inputs, &plan.outputs})
            if (const auto found = ports->find(name); found != ports->end()) {
                *channels = found->second.channels, *shrink = found->second.shrink;
                return;
            }
        throw RestoreError(text("the network has no input or output `", name, "`"));
    });
}

sdcpu_status sdcpu_run(sdcpu_network* network, size_t height, size_t width, size_t inputs, const char* const* input_names,
                       const float* const* input_planes, const float* row, size_t row_values, size_t outputs,
                       const char* const* output_names, float* const* output_planes, char* error, size_t error_size) {
    return attempt(error, error_size, [&] {
        std::vector<NamedInput> given;
        for (size_t i = 0; i < inputs; ++i)
            given.push_back({needed(needed(input_names, "input_names")[i], "an input's name"),
                             needed(needed(input_planes, "input_planes")[i], input_names[i])});
        std::vector<NamedOutput> wanted;
        for (size_t i = 0; i < outputs; ++i)
            wanted.push_back({needed(needed(output_names, "output_names")[i], "an output's name"),
                              needed(needed(output_planes, "output_planes")[i], output_names[i])});
        if (row_values > 0) needed(row, "row");
        needed(network, "network")->network.run(height, width, given, {row, row_values}, wanted);
    });
}

void sdcpu_close(sdcpu_network* network) { delete network; }
