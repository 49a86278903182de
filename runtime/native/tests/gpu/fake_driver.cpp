#include "gpu/fake_driver.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace shadowdiffusion {

namespace {

constexpr std::size_t MARGIN = 512, PLACE = 256;
constexpr std::byte WATCH{0xA5}, NO_NUMBER{0xFF};  // floats and halves of the latter are NaN
constexpr CudaResult INVALID_VALUE = 1, INVALID_CONTEXT = 201;
const auto CONTEXT = reinterpret_cast<CudaContext>(0xC0DE);

thread_local std::vector<CudaContext> contexts;

bool works_anywhere(std::string_view name) {
    return name == "cuInit" || name.starts_with("cuDevice") || name.starts_with("cuDriver") || name.starts_with("cuCtx");
}

// Calls that a capture does not survive.
bool breaks_capture(std::string_view name) {
    return name == "cuMemAlloc_v2" || name == "cuMemFree_v2" || name == "cuMemHostAlloc" || name == "cuMemFreeHost" ||
           name == "cuStreamSynchronize";
}

// What every call comes to before its own work: 0 to go on.
CudaResult begin(const char* name) {
    FakeDriver& driver = fake_driver();
    driver.calls.emplace_back(name);
    if (const auto found = driver.refused.find(name); found != driver.refused.end()) return found->second;
    if (!works_anywhere(name) && contexts.empty()) return INVALID_CONTEXT;
    if (!driver.capture) return 0;
    const auto found = driver.in_capture.find(name);
    const bool ends = std::string_view(name) == "cuStreamEndCapture";
    if (ends || (found == driver.in_capture.end() && !breaks_capture(name))) return 0;
    driver.capture->broken = CAPTURE_INVALIDATED;
    return found == driver.in_capture.end() ? CAPTURE_UNSUPPORTED : found->second;
}

template <class Handle>
Handle made() {
    return reinterpret_cast<Handle>(const_cast<void*>(fake_driver().handle()));
}

void free_memory(std::map<CudaAddress, std::unique_ptr<FakeDriver::Memory>>& from, CudaAddress address) {
    const auto found = from.find(address);
    fake_demand(found != from.end(), "memory is freed that is not there");
    found->second->check();
    from.erase(found);
}

CudaAddress place_in(std::map<CudaAddress, std::unique_ptr<FakeDriver::Memory>>& where, std::size_t size) {
    auto memory = std::make_unique<FakeDriver::Memory>(size);
    const auto address = reinterpret_cast<CudaAddress>(memory->begin);
    where[address] = std::move(memory);
    return address;
}

}  // namespace

void fake_demand(bool condition, const char* what) {
    if (condition) return;
    std::fprintf(stderr, "the CUDA driver was misused: %s\n", what);
    std::abort();
}

FakeDriver& fake_driver() {
    static FakeDriver driver;
    return driver;
}

FakeDriver::Memory::Memory(std::size_t of) : raw(of + 2 * MARGIN + PLACE, WATCH), size(of) {
    const auto first = reinterpret_cast<std::size_t>(raw.data()) + MARGIN;
    begin = raw.data() + MARGIN + (PLACE - first % PLACE) % PLACE;
    std::fill_n(begin, size, NO_NUMBER);
}

void FakeDriver::Memory::check() const {
    const auto watched = [](std::byte value) { return value == WATCH; };
    const std::byte *first = raw.data(), *end = raw.data() + raw.size();
    fake_demand(std::all_of(first, static_cast<const std::byte*>(begin), watched), "written before the memory");
    fake_demand(std::all_of(static_cast<const std::byte*>(begin) + size, end, watched), "written after the memory");
}

std::size_t FakeDriver::used() const {
    std::size_t sum = 0;
    for (const auto& [_, piece] : memory) sum += piece->size;
    return sum;
}

std::byte* FakeDriver::at(CudaAddress address, std::size_t bytes) {
    auto found = memory.upper_bound(address);
    fake_demand(found != memory.begin(), "an address is no device memory");
    --found;
    fake_demand(address + bytes <= found->first + found->second->size, "an address is no device memory");
    return found->second->begin + (address - found->first);
}

void FakeDriver::enqueue(CudaStream stream, const std::string& name, Work work) {
    fake_demand(streams.contains(stream), "there is no such stream");
    (capture ? capture->work : streams[stream]).emplace_back(name, std::move(work));
}

void FakeDriver::run(const void* stream) {
    while (!streams.at(stream).empty()) step(stream);
}

void FakeDriver::run_until(CudaEvent event) {
    fake_demand(events.at(event).stream != nullptr, "an event is waited for that no stream will pass");
    while (events.at(event).passed == 0) {
        fake_demand(!streams.at(events.at(event).stream).empty(), "an event is waited for that no stream will pass");
        step(events.at(event).stream);
    }
}

void FakeDriver::step(const void* stream) {
    const auto [name, work] = std::move(streams.at(stream).front());
    streams.at(stream).pop_front();
    if (!name.empty()) ++done[name];
    work();
    for (const auto& [_, piece] : memory) piece->check();
    for (const auto& [_, piece] : pinned) piece->check();
}

void FakeDriver::reset() {
    fake_demand(memory.empty() && pinned.empty() && graphs.empty() && streams.empty() && modules.empty() && events.empty(),
                "something was not given back");
    fake_demand(retained == 0 && contexts.empty(), "a context was not given back");
    *this = FakeDriver();
}

}  // namespace shadowdiffusion

using namespace shadowdiffusion;

#define CALL(NAME)                                            \
    if (const CudaResult begun = begin(NAME); begun) return begun; \
    FakeDriver& driver = fake_driver();                       \
    static_cast<void>(driver)

#pragma GCC visibility push(default)
extern "C" {

CudaResult cuInit(unsigned flags) {
    CALL("cuInit");
    fake_demand(flags == 0, "flags of cuInit");
    return 0;
}

CudaResult cuDriverGetVersion(int* version) {
    *version = 13000;
    return 0;
}

CudaResult cuGetErrorName(CudaResult result, const char** name) {
    static const std::map<CudaResult, const char*> names = {{2, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                            {201, "CUDA_ERROR_INVALID_CONTEXT"},
                                                            {700, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                            {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
                                                            {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}};
    const auto found = names.find(result);
    *name = found == names.end() ? nullptr : found->second;
    return 0;
}

CudaResult cuDeviceGet(CudaDevice* device, int ordinal) {
    CALL("cuDeviceGet");
    *device = ordinal;
    return 0;
}

CudaResult cuDeviceGetName(char* name, int length, CudaDevice) {
    CALL("cuDeviceGetName");
    std::snprintf(name, static_cast<std::size_t>(length), "Imaginary %d", driver.sm);
    return 0;
}

CudaResult cuDeviceGetAttribute(int* value, int attribute, CudaDevice) {
    CALL("cuDeviceGetAttribute");
    fake_demand(attribute == 75 || attribute == 76, "an attribute that is not asked for");
    *value = attribute == 75 ? driver.sm / 10 : driver.sm % 10;
    return 0;
}

CudaResult cuDevicePrimaryCtxRetain(CudaContext* context, CudaDevice) {
    CALL("cuDevicePrimaryCtxRetain");
    ++driver.retained;
    *context = CONTEXT;
    return 0;
}

CudaResult cuDevicePrimaryCtxRelease_v2(CudaDevice) {
    --fake_driver().retained;
    return 0;
}

CudaResult cuCtxPushCurrent_v2(CudaContext context) {
    CALL("cuCtxPushCurrent_v2");
    fake_demand(context == CONTEXT, "another context");
    contexts.push_back(context);
    return 0;
}

CudaResult cuCtxPopCurrent_v2(CudaContext* context) {
    fake_demand(!contexts.empty(), "no context is current");
    *context = contexts.back();
    contexts.pop_back();
    return 0;
}

CudaResult cuStreamCreate(CudaStream* stream, unsigned flags) {
    CALL("cuStreamCreate");
    fake_demand(flags == 1, "the stream waits for others");
    *stream = made<CudaStream>();
    driver.streams[*stream];
    return 0;
}

CudaResult cuStreamDestroy_v2(CudaStream stream) {
    fake_demand(fake_driver().streams.erase(stream) == 1, "there is no such stream");
    return 0;
}

CudaResult cuStreamSynchronize(CudaStream stream) {
    CALL("cuStreamSynchronize");
    driver.run(stream);
    return 0;
}

CudaResult cuStreamBeginCapture_v2(CudaStream, int mode) {
    CALL("cuStreamBeginCapture_v2");
    fake_demand(!driver.capture && mode == 1, "a capture that is not thread-local, or in another");
    driver.capture = std::make_shared<FakeDriver::Captured>();
    return 0;
}

CudaResult cuStreamEndCapture(CudaStream, CudaGraph* graph) {
    CALL("cuStreamEndCapture");
    fake_demand(driver.capture != nullptr, "no capture is there to end");
    const auto captured = std::exchange(driver.capture, nullptr);
    *graph = nullptr;
    if (captured->broken) return captured->broken;
    if (const auto found = driver.in_capture.find("cuStreamEndCapture"); found != driver.in_capture.end()) return found->second;
    *graph = made<CudaGraph>();
    driver.graphs[*graph] = captured;
    return 0;
}

CudaResult cuGraphDestroy(CudaGraph graph) {
    fake_demand(fake_driver().graphs.erase(graph) == 1, "there is no such graph");
    return 0;
}

CudaResult cuGraphInstantiateWithFlags(CudaGraphExec* executable, CudaGraph graph, unsigned long long flags) {
    CALL("cuGraphInstantiateWithFlags");
    fake_demand(flags == 0, "flags of a graph");
    *executable = made<CudaGraphExec>();
    driver.graphs[*executable] = driver.graphs.at(graph);
    return 0;
}

CudaResult cuGraphLaunch(CudaGraphExec executable, CudaStream stream) {
    CALL("cuGraphLaunch");
    fake_demand(!driver.capture, "a graph is launched in a capture");
    const auto& work = driver.graphs.at(executable)->work;
    auto& queue = driver.streams.at(stream);
    queue.insert(queue.end(), work.begin(), work.end());
    return 0;
}

CudaResult cuGraphExecDestroy(CudaGraphExec executable) {
    fake_demand(fake_driver().graphs.erase(executable) == 1, "there is no such graph");
    return 0;
}

CudaResult cuEventCreate(CudaEvent* event, unsigned) {
    CALL("cuEventCreate");
    *event = made<CudaEvent>();
    driver.events[*event];
    return 0;
}

CudaResult cuEventDestroy_v2(CudaEvent event) {
    fake_demand(fake_driver().events.erase(event) == 1, "there is no such event");
    return 0;
}

CudaResult cuEventRecord(CudaEvent event, CudaStream stream) {
    CALL("cuEventRecord");
    fake_demand(!driver.capture, "an event that was captured cannot be waited for");
    driver.events.at(event) = {0, stream};
    driver.enqueue(stream, "", [event] {
        FakeDriver& on = fake_driver();
        on.events.at(event).passed = on.clock += 1;
    });
    return 0;
}

CudaResult cuEventSynchronize(CudaEvent event) {
    CALL("cuEventSynchronize");
    fake_demand(!driver.capture, "an event is waited for in a capture");
    driver.run_until(event);
    return 0;
}

CudaResult cuStreamWaitEvent(CudaStream stream, CudaEvent event, unsigned flags) {
    CALL("cuStreamWaitEvent");
    fake_demand(flags == 0 && !driver.capture, "another kind of waiting");
    driver.enqueue(stream, "", [event] { fake_driver().run_until(event); });
    return 0;
}

CudaResult cuEventElapsedTime(float* milliseconds, CudaEvent start, CudaEvent end) {
    CALL("cuEventElapsedTime");
    const double first = driver.events.at(start).passed, last = driver.events.at(end).passed;
    fake_demand(first > 0 && last > first, "an event has not passed");
    *milliseconds = static_cast<float>(last - first);
    return 0;
}

CudaResult cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
    CALL("cuMemGetInfo_v2");
    *free = driver.size - driver.used(), *total = driver.size;
    return 0;
}

CudaResult cuMemAlloc_v2(CudaAddress* address, std::size_t size) {
    CALL("cuMemAlloc_v2");
    if (size == 0) return INVALID_VALUE;
    if (size > driver.size - driver.used()) return CUDA_OUT_OF_MEMORY;
    *address = place_in(driver.memory, size);
    return 0;
}

CudaResult cuMemFree_v2(CudaAddress address) {
    CALL("cuMemFree_v2");
    free_memory(driver.memory, address);
    return 0;
}

CudaResult cuMemHostAlloc(void** address, std::size_t size, unsigned flags) {
    CALL("cuMemHostAlloc");
    fake_demand(flags == 0, "flags of host memory");
    *address = reinterpret_cast<void*>(place_in(driver.pinned, size));
    return 0;
}

CudaResult cuMemFreeHost(void* address) {
    CALL("cuMemFreeHost");
    free_memory(driver.pinned, reinterpret_cast<CudaAddress>(address));
    return 0;
}

CudaResult cuMemcpyHtoDAsync_v2(CudaAddress target, const void* source, std::size_t size, CudaStream stream) {
    CALL("cuMemcpyHtoDAsync_v2");
    fake_demand(!driver.capture, "the graph would upload this memory for ever");
    driver.enqueue(stream, "upload", [=, place = driver.at(target, size)] { std::memcpy(place, source, size); });
    return 0;
}

CudaResult cuMemcpyDtoHAsync_v2(void* target, CudaAddress source, std::size_t size, CudaStream stream) {
    CALL("cuMemcpyDtoHAsync_v2");
    driver.enqueue(stream, "download", [=, place = driver.at(source, size)] { std::memcpy(target, place, size); });
    return 0;
}

CudaResult cuMemcpyDtoDAsync_v2(CudaAddress target, CudaAddress source, std::size_t size, CudaStream stream) {
    CALL("cuMemcpyDtoDAsync_v2");
    driver.enqueue(stream, "copy",
                   [size, to = driver.at(target, size), from = driver.at(source, size)] { std::memmove(to, from, size); });
    return 0;
}

CudaResult cuMemsetD32Async(CudaAddress target, unsigned value, std::size_t count, CudaStream stream) {
    CALL("cuMemsetD32Async");
    driver.enqueue(stream, "fill", [=, place = driver.at(target, 4 * count)] {
        for (std::size_t i = 0; i < count; ++i) std::memcpy(place + 4 * i, &value, 4);
    });
    return 0;
}

CudaResult cuModuleLoadData(CudaModule* module, const void* image) {
    CALL("cuModuleLoadData");
    const std::string_view code = static_cast<const char*>(image);
    if (!code.starts_with(FAKE_CUBIN)) return INVALID_VALUE;
    *module = made<CudaModule>();
    driver.modules[*module] = code.substr(FAKE_CUBIN.size());
    return 0;
}

CudaResult cuModuleUnload(CudaModule module) {
    fake_demand(fake_driver().modules.erase(module) == 1, "there is no such module");
    return 0;
}

CudaResult cuModuleGetFunction(CudaFunction* function, CudaModule module, const char* name) {
    CALL("cuModuleGetFunction");
    const std::string& variant = driver.modules.at(module);
    if (name != fake_entry(variant)) return 500;  // CUDA_ERROR_NOT_FOUND
    *function = made<CudaFunction>();
    driver.functions[*function] = variant;
    return 0;
}

CudaResult cuFuncSetAttribute(CudaFunction, int, int) {
    CALL("cuFuncSetAttribute");
    return 0;
}

CudaResult cuLaunchKernel(CudaFunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, CudaStream stream, void** parameters, void** extra) {
    CALL("cuLaunchKernel");
    fake_demand(parameters == nullptr && extra[0] == CUDA_LAUNCH_BUFFER && extra[2] == CUDA_LAUNCH_BUFFER_SIZE &&
                    extra[4] == nullptr,
                "the parameter list has another form");
    fake_demand(bx % 32 == 0 && bx > 0 && by == 1 && bz == 1 && shared <= 48 * 1024, "a block of another form");
    const auto* first = static_cast<const std::byte*>(extra[1]);
    const std::size_t size = *static_cast<const std::size_t*>(extra[3]);
    const std::string& variant = driver.functions.at(function);
    driver.enqueue(stream, variant, fake_kernel(variant, {gx, gy, gz}, {first, first + size}));
    return 0;
}

}  // extern "C"
#pragma GCC visibility pop
