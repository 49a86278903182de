// What a manifest says about the GPU kernels of its bundle, as in runtime/bundle/gpu_kernels.py. A bundle need not have
// any.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace shadowdiffusion {

struct KernelArgument {
    std::string name;
    std::string type;       // as Triton writes it: "i32", "*fp16" (a pointer), ...
    std::int64_t multiple;  // the value, or the address in bytes, must be a multiple of this
};

// The kernel compiled for one GPU generation.
struct KernelBuild {
    std::int64_t sm;         // compute capability times ten; 90 and later are compiled for that capability alone
    std::string file;        // path of the cubin in the bundle
    std::int64_t registers;  // per thread
    std::int64_t spilled;    // bytes of local memory per thread
    std::int64_t shared;     // bytes of dynamic shared memory to launch with
};

// One specialisation of one kernel.
struct Kernel {
    std::string name;
    std::string entry;                      // the function's name in the cubin
    std::vector<KernelArgument> arguments;  // in the order of the parameter list
    std::map<std::string, std::variant<bool, std::int64_t, double>> constants;  // fixed when it was compiled
    std::vector<std::string> grid;  // programs along x, y and z: expressions of arguments and of `images`
    std::int64_t warps;             // of 32 threads each, per program
    std::string source;             // SHA-256 of the source it was compiled from
    std::string triton;             // version of the compiler
    std::vector<KernelBuild> builds;

    // The build that runs on a GPU of this compute capability, or null. Machine code below 9.0 runs on later minor
    // versions of the same major one, the best of which counts.
    const KernelBuild* build_for(std::int64_t sm) const {
        const KernelBuild* best = nullptr;
        for (const KernelBuild& build : builds) {
            const bool runs = build.sm == sm || (build.sm < 90 && build.sm < sm && build.sm / 10 == sm / 10);
            if (runs && (best == nullptr || best->sm < build.sm)) best = &build;
        }
        return best;
    }
};

}  // namespace shadowdiffusion
