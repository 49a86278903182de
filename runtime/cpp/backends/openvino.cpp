#include "backends/openvino.h"

#include <algorithm>
#include <mutex>
#include <openvino/openvino.hpp>

#include "backends/failures.h"
#include "backends/openings.h"
#include "cache.h"
#include "errors.h"
#include "forks.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

struct Graph {
    ov::CompiledModel model;
    ov::InferRequest request;
    std::mutex turn;  // one run uses all threads
};

// Wraps memory that OpenVINO reads or writes in place.
template <class T>
ov::Tensor tensor(const BasicBinding<T>& binding) {
    const ov::Shape shape(binding.shape.begin(), binding.shape.begin() + static_cast<std::ptrdiff_t>(binding.rank));
    return {ov::element::f32, shape, const_cast<float*>(binding.data)};  // inputs are only read
}

// The names of inputs or outputs, sorted: of several that OpenVINO knows one by, the expected one.
std::vector<std::string> names_of(const std::vector<ov::Output<const ov::Node>>& ports,
                                  const std::vector<std::string>& expected) {
    std::vector<std::string> names;
    for (const auto& port : ports) {
        const auto& all = port.get_names();
        const auto known = std::ranges::find_if(expected, [&](const std::string& name) { return all.contains(name); });
        names.push_back(known != expected.end() ? *known : port.get_any_name());
    }
    std::ranges::sort(names);
    return names;
}

class OpenVinoGraphs final : public Graphs, AtFork {
  public:
    OpenVinoGraphs(const Bundle& bundle, unsigned threads)
        : bundle_(bundle), openings_([this](const std::string& name) { return open(name); }) {
        // LATENCY: one image at a time on all cores. f32: the default may be bfloat16 where the CPU has it, which
        // costs about 30 dB. No pinning: other processes restore on the same cores.
        settings_ = {ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                     ov::hint::inference_precision(ov::element::f32),
                     ov::hint::execution_mode(ov::hint::ExecutionMode::ACCURACY), ov::hint::enable_cpu_pinning(false),
                     ov::num_streams(1)};
        if (threads > 0) settings_.emplace(ov::inference_num_threads(static_cast<int>(threads)));
    }

    const std::string& title() const override { return title_; }

    void prefetch(std::string_view name) override { openings_[name]; }

    void run(std::string_view name, std::span<const Input> inputs, std::span<const Output> outputs) override {
        Graph& graph = *openings_[name].get();
        const std::lock_guard lock(graph.turn);
        attempt(name, inputs, [&] { infer(graph, inputs, outputs); });
    }

    void run_chain(std::string_view first, std::span<const Input> inputs, std::span<const Output> outputs,
                   std::string_view joint, std::string_view second, const Output& last) override {
        Graph &graph = *openings_[first].get(), &after = *openings_[second].get();
        const std::scoped_lock lock(graph.turn, after.turn);
        attempt(first, inputs, [&] { infer(graph, inputs, outputs); });
        attempt(second, inputs, [&] {
            after.request.set_tensor(std::string(joint), graph.request.get_tensor(std::string(joint)));
            after.request.set_tensor(std::string(last.name), tensor(last));
            after.request.infer();
        });
    }

  private:
    void in_child() noexcept override { static_cast<void>(core_.release()); }  // its threads are gone, so that it cannot end

    static void infer(Graph& graph, std::span<const Input> inputs, std::span<const Output> outputs) {
        for (const Input& input : inputs) graph.request.set_tensor(std::string(input.name), tensor(input));
        for (const Output& output : outputs) graph.request.set_tensor(std::string(output.name), tensor(output));
        graph.request.infer();
    }

    template <class Work>
    static void attempt(std::string_view name, std::span<const Input> inputs, const Work& work) {
        try {
            work();
        } catch (const std::exception& error) {
            throw_failure(name, inputs[0].shape[2], inputs[0].shape[3], error);
        }
    }

    std::shared_ptr<Graph> open(const std::string& name) {
        const std::string path = (bundle_.path / name).string();
        auto graph = std::make_shared<Graph>();
        try {
            graph->model = compile(path, bundle_.manifest.files.at(name).sha256);
            graph->request = graph->model.create_infer_request();
        } catch (const std::exception& error) {
            throw BundleError(text("OpenVINO cannot load ", path, ": ", one_line(error.what())));
        }
        const Signature wanted = signature_of(bundle_, name);
        check_signature(path, {names_of(graph->model.inputs(), wanted.inputs), names_of(graph->model.outputs(), wanted.outputs)},
                        wanted);
        return graph;
    }

    // Where the cache cannot be written or holds what cannot be read, the graph is compiled as if there were none. One
    // process at a time: OpenVINO maps files of its cache into memory while others may still write them.
    ov::CompiledModel compile(const std::string& path, const std::string& sha256) {
        auto folder = cache_folder("openvino");
        if (folder) *folder /= sha256;
        const FolderLock lock(folder);
        {
            const std::lock_guard begin(core_mutex_);
            if (!core_) core_ = std::make_unique<ov::Core>();
        }
        if (folder) {
            ov::AnyMap cached = settings_;
            cached.emplace(ov::cache_dir(folder->string()));
            try {
                return core_->compile_model(path, "CPU", cached);
            } catch (const std::exception&) {  // once more, without the cache
            }
        }
        return core_->compile_model(path, "CPU", settings_);
    }

    const Bundle& bundle_;
    const std::string title_ = "OpenVINO on the CPU";
    std::unique_ptr<ov::Core> core_ = std::make_unique<ov::Core>();
    AbandonedMutex core_mutex_;
    ov::AnyMap settings_;
    Openings<Graph, InChild::opened_again> openings_;
};

}  // namespace

std::unique_ptr<Graphs> openvino_graphs(const Bundle& bundle, unsigned threads) {
    try {
        return std::make_unique<OpenVinoGraphs>(bundle, threads);
    } catch (const std::exception& error) {
        throw RestoreError(text("OpenVINO does not start: ", one_line(error.what())));
    }
}

}  // namespace shadowdiffusion
