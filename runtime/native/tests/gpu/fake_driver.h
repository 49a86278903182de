// A CUDA driver of C++ functions, in a library of its own that is opened as the real one would be. Its device memory is
// host memory, its kernels are those of fake_kernels.cpp.
//
// As on a real device, work only happens when its stream is waited for, or an event in it, and then no more than has to;
// calls from a thread without the context are
// refused, during a capture nothing runs, and what a graph holds is what was captured. Every call can be made to fail.
// Memory comes full of values that are no numbers and is watched on both sides.
#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu/cuda_driver.h"

#pragma GCC visibility push(default)

namespace shadowdiffusion {

inline constexpr std::string_view FAKE_CUBIN = "cubin of ";  // what a stand-in for a compiled kernel begins with
inline constexpr CudaResult CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901;

// Ends the program with a line unless `condition`: the driver was misused.
void fake_demand(bool condition, const char* what);

struct FakeDriver {
    using Work = std::function<void()>;
    using Queue = std::deque<std::pair<std::string, Work>>;

    // A piece of memory between two margins.
    struct Memory {
        explicit Memory(std::size_t size);
        std::vector<std::byte> raw;
        std::byte* begin;
        std::size_t size;
        void check() const;
    };

    // What a stream got between the beginning and the end of a capture.
    struct Captured {
        Queue work;
        CudaResult broken = 0;
    };

    std::size_t size = std::size_t{1} << 30;  // bytes of device memory
    int sm = 90;
    std::map<std::string, CudaResult, std::less<>> refused;     // what a function returns instead of 0
    std::map<std::string, CudaResult, std::less<>> in_capture;  // the same, but only during a capture
    std::vector<std::string> calls;                             // names of all calls
    std::map<std::string, int> done;                            // how often each kind of work ran on the device
    std::map<CudaAddress, std::unique_ptr<Memory>> memory, pinned;
    std::map<const void*, Queue> streams;
    std::map<const void*, std::shared_ptr<Captured>> graphs;
    std::map<const void*, std::string> modules, functions;  // variants
    // When it passed, 0 until it has; and the stream that is to pass it.
    struct Event {
        double passed = 0;
        const void* stream = nullptr;
    };
    std::map<const void*, Event> events;
    std::shared_ptr<Captured> capture;
    double clock = 0;
    int retained = 0;

    std::size_t used() const;
    std::byte* at(CudaAddress address, std::size_t bytes);  // device memory, which must be allocated
    void enqueue(CudaStream stream, const std::string& name, Work work);
    void run(const void* stream);
    void run_until(CudaEvent event);
    const void* handle() { return reinterpret_cast<const void*>(next_ += 16); }

    // Forget settings and counts. Nothing may be allocated.
    void reset();

  private:
    void step(const void* stream);

    std::size_t next_ = 0x1000;
};

FakeDriver& fake_driver();

// The work of one launch of a kernel's stand-in, by the name of its variant.
FakeDriver::Work fake_kernel(const std::string& variant, std::array<unsigned, 3> grid, std::vector<std::byte> packed);

// The name of the function that a variant is made from.
std::string fake_entry(std::string_view variant);

}  // namespace shadowdiffusion

#pragma GCC visibility pop
