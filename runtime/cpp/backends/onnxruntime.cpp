#include "backends/onnxruntime.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <vector>

#include "backends/failures.h"
#include "backends/onnxruntime_library.h"
#include "backends/openings.h"
#include "errors.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

struct Session {
    OrtOwned<OrtSession> session;
    std::mutex turn;  // one run uses all threads
};

// Names of inputs or outputs, sorted.
template <class Count, class Name>
std::vector<std::string> names_of(const OrtSession* session, Count count, Name name) {
    OrtAllocator* allocator = nullptr;
    demand(onnxruntime().GetAllocatorWithDefaultOptions(&allocator));
    std::size_t size = 0;
    demand(count(session, &size));
    std::vector<std::string> names;
    for (std::size_t i = 0; i < size; ++i) {
        char* found = nullptr;
        demand(name(session, i, allocator, &found));
        names.emplace_back(found);
        demand(onnxruntime().AllocatorFree(allocator, found));
    }
    std::ranges::sort(names);
    return names;
}

// Opens a graph of a bundle, set up as in the Python runtime. threads: 0 for one per core. Throws BundleError where it cannot
// be loaded, or takes or gives something else than it should.
std::shared_ptr<Session> open_session(const Bundle& bundle, const std::string& name, unsigned threads) {
    const std::string path = (bundle.path / name).string();
    auto opened = std::make_shared<Session>();
    Signature found;
    try {
        const auto options = made<OrtSessionOptions>(onnxruntime().CreateSessionOptions);
        demand(onnxruntime().SetSessionLogSeverityLevel(options.get(), ORT_LOGGING_LEVEL_FATAL));
        demand(onnxruntime().SetIntraOpNumThreads(options.get(), static_cast<int>(threads)));
        opened->session = made<OrtSession>(onnxruntime().CreateSession, onnxruntime_environment(), path.c_str(),
                                           static_cast<const OrtSessionOptions*>(options.get()));
        const OrtSession* session = opened->session.get();
        found.inputs = names_of(session, onnxruntime().SessionGetInputCount, onnxruntime().SessionGetInputName);
        found.outputs = names_of(session, onnxruntime().SessionGetOutputCount, onnxruntime().SessionGetOutputName);
    } catch (const std::exception& error) {
        throw BundleError(text("ONNX Runtime cannot load ", path, ": ", one_line(error.what())));
    }
    check_signature(path, found, signature_of(bundle, name));
    return opened;
}

// The values of one run, by name, in the order in which they were added.
class Values {
  public:
    // Memory that ONNX Runtime reads or writes in place.
    template <class T>
    void add(const OrtMemoryInfo* memory, const BasicBinding<T>& binding) {
        std::array<std::int64_t, 4> shape{};
        std::ranges::copy(binding.shape, shape.begin());
        owned_.push_back(made<OrtValue>(onnxruntime().CreateTensorWithDataAsOrtValue, memory,
                                        static_cast<void*>(const_cast<float*>(binding.data)),  // inputs are only read
                                        binding.values() * sizeof(float), shape.data(), binding.rank,
                                        ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
        add(binding.name, owned_.back().get());
    }
    // A value of someone else, or null for one that ONNX Runtime is to make.
    void add(std::string_view name, OrtValue* value) {
        names_.emplace_back(name);
        values_.push_back(value);
    }
    std::vector<const char*> names() const {
        std::vector<const char*> found;
        for (const std::string& name : names_) found.push_back(name.c_str());
        return found;
    }
    std::vector<OrtValue*>& values() { return values_; }

  private:
    std::vector<OrtOwned<OrtValue>> owned_;
    std::vector<std::string> names_;
    std::vector<OrtValue*> values_;
};

class OnnxRuntimeGraphs final : public Graphs {
  public:
    OnnxRuntimeGraphs(const Bundle& bundle, unsigned threads)
        : memory_(made<OrtMemoryInfo>(onnxruntime().CreateCpuMemoryInfo, OrtArenaAllocator, OrtMemTypeDefault)),
          sessions_([&bundle, threads](const std::string& name) { return open_session(bundle, name, threads); }) {}

    const std::string& title() const override { return title_; }

    void prefetch(std::string_view name) override { sessions_[name]; }

    void run(std::string_view name, std::span<const Input> inputs, std::span<const Output> outputs) override {
        Session& session = *sessions_[name].get();
        const std::lock_guard lock(session.turn);
        attempt(name, inputs, [&] {
            Values given = values_of(inputs), wanted = values_of(outputs);
            run(session, given, wanted);
        });
    }

    void run_chain(std::string_view first, std::span<const Input> inputs, std::span<const Output> outputs,
                   std::string_view joint, std::string_view second, const Output& last) override {
        Session &session = *sessions_[first].get(), &after = *sessions_[second].get();
        const std::scoped_lock lock(session.turn, after.turn);
        OrtOwned<OrtValue> between;
        attempt(first, inputs, [&] {
            Values given = values_of(inputs), wanted = values_of(outputs);
            wanted.add(joint, nullptr);
            run(session, given, wanted);
            between.reset(wanted.values().back());
        });
        attempt(second, inputs, [&] {
            Values given, wanted;
            given.add(joint, between.get());
            wanted.add(memory_.get(), last);
            run(after, given, wanted);
        });
    }

  private:
    template <class T>
    Values values_of(std::span<const BasicBinding<T>> bindings) const {
        Values values;
        for (const BasicBinding<T>& binding : bindings) values.add(memory_.get(), binding);
        return values;
    }

    static void run(Session& session, Values& given, Values& wanted) {
        const auto inputs = given.names(), outputs = wanted.names();
        demand(onnxruntime().Run(session.session.get(), nullptr, inputs.data(), given.values().data(), inputs.size(),
                                 outputs.data(), outputs.size(), wanted.values().data()));
    }

    template <class Work>
    static void attempt(std::string_view name, std::span<const Input> inputs, const Work& work) {
        try {
            work();
        } catch (const std::exception& error) {
            throw_failure(name, inputs[0].shape[2], inputs[0].shape[3], error);
        }
    }

    const std::string title_ = "ONNX Runtime on the CPU";
    OrtOwned<OrtMemoryInfo> memory_;
    Openings<Session, InChild::opened_again> sessions_;
};

}  // namespace

std::unique_ptr<Graphs> onnxruntime_graphs(const Bundle& bundle, unsigned threads) {
    return std::make_unique<OnnxRuntimeGraphs>(bundle, threads);
}

}  // namespace shadowdiffusion
