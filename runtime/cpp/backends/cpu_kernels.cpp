#include "backends/cpu_kernels.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <vector>

#include "backends/failures.h"
#include "backends/openings.h"
#include "cpu/network.h"
#include "errors.h"
#include "forks.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::string_view ROW = "row";

// Throws BundleError unless the memory of an input or output is what the plan takes it for, in an image of that size.
template <class T>
void check_size(std::string_view name, const std::map<std::string, PlanPort>& ports, const BasicBinding<T>& binding, Size size) {
    const auto port = ports.find(std::string(binding.name));
    const auto [channels, shrink] = port == ports.end() ? PlanPort{0, 1} : port->second;
    if (binding.values() != channels * (size.first / shrink) * (size.second / shrink))
        throw BundleError(text("the plan of ", name, " has ", channels, " channels of ", binding.name, ", not ", binding.shape[1]));
}

class CpuKernelGraphs final : public Graphs {
  public:
    CpuKernelGraphs(const Bundle& bundle, const StoredEngine& engine, std::function<std::unique_ptr<Graphs>()> others,
                    Workers& workers)
        : bundle_(bundle), title_("engine " + engine.name()), open_others_(std::move(others)), workers_(workers),
          openings_([this](const std::string& name) { return open(name); }) {
        for (const auto& [name, file] : engine.networks) plans_[name] = engine.path / file;
    }

    const std::string& title() const override { return title_; }

    void prefetch(std::string_view name) override {
        if (plans_.contains(name))
            openings_[name];
        else
            others(name).prefetch(name);
    }

    void run(std::string_view name, std::span<const Input> inputs, std::span<const Output> outputs) override {
        if (!plans_.contains(name)) return others(name).run(name, inputs, outputs);
        CpuNetwork& network = *openings_[name].get();
        const Plan& plan = network.plan();
        const std::size_t shrink = plan.inputs.at(std::string(inputs[0].name)).shrink;
        const Size size{inputs[0].shape[2] * shrink, inputs[0].shape[3] * shrink};
        std::vector<NamedInput> given;
        std::span<const float> row;
        for (const Input& input : inputs) {
            if (input.name == ROW) {
                row = {input.data, input.values()};
            } else {
                check_size(name, plan.inputs, input, size);
                given.push_back({input.name, input.data});
            }
        }
        std::vector<NamedOutput> wanted;
        for (const Output& output : outputs) {
            check_size(name, plan.outputs, output, size);
            wanted.push_back({output.name, output.data});
        }
        try {
            network.run(size.first, size.second, given, row, wanted);
        } catch (const std::exception& error) {
            throw_failure(name, size.first, size.second, error);
        }
    }

    void run_chain(std::string_view first, std::span<const Input> inputs, std::span<const Output> outputs,
                   std::string_view joint, std::string_view second, const Output& last) override {
        if (!plans_.contains(first)) return others(first).run_chain(first, inputs, outputs, joint, second, last);
        const PlanPort port = openings_[first].get()->plan().outputs.at(std::string(joint));
        const std::array shape{std::size_t{1}, port.channels, inputs[0].shape[2] / port.shrink, inputs[0].shape[3] / port.shrink};
        std::vector<Output> all(outputs.begin(), outputs.end());
        const std::lock_guard turn(turn_);
        joint_.resize(shape[1] * shape[2] * shape[3]);
        all.push_back({joint, shape, 4, joint_.data()});
        run(first, inputs, all);
        run(second, std::array{Input{joint, shape, 4, joint_.data()}}, std::array{last});
    }

  private:
    std::shared_ptr<CpuNetwork> open(const std::string& name) {
        const std::filesystem::path& path = plans_.find(name)->second;
        auto network = std::make_shared<CpuNetwork>(read_plan(path), workers_);
        Signature found;
        for (const auto& [input, port] : network->plan().inputs) found.inputs.push_back(input);
        if (network->plan().row > 0) found.inputs.emplace_back(ROW);
        for (const auto& [output, port] : network->plan().outputs) found.outputs.push_back(output);
        std::ranges::sort(found.inputs);
        check_signature(path.string(), found, signature_of(bundle_, name));
        return network;
    }

    Graphs& others(std::string_view name) {
        const std::lock_guard lock(others_mutex_);
        if (!open_others_) throw RestoreError(text(title_, " has no plan of ", name, ", and nothing else that runs networks was built in"));
        if (!others_) others_ = open_others_();
        return *others_;
    }

    const Bundle& bundle_;
    const std::string title_;
    std::map<std::string, std::filesystem::path, std::less<>> plans_;  // by the name of the graph
    std::function<std::unique_ptr<Graphs>()> open_others_;
    AbandonedMutex others_mutex_;
    std::unique_ptr<Graphs> others_;
    Workers& workers_;
    AbandonedMutex turn_;       // of chains
    std::vector<float> joint_;  // what the first of a chain leaves to the second
    Openings<CpuNetwork, InChild::kept> openings_;  // last: they end before what they use
};

}  // namespace

std::unique_ptr<Graphs> cpu_kernel_graphs(const Bundle& bundle, const StoredEngine& engine,
                                          std::function<std::unique_ptr<Graphs>()> others, Workers& workers) {
    return std::make_unique<CpuKernelGraphs>(bundle, engine, std::move(others), workers);
}

}  // namespace shadowdiffusion
