// `Networks` in terms of the bundle's graphs, run by file name.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "backends/networks.h"
#include "bundle/bundle.h"
#include "bundle/time_table.h"

namespace shadowdiffusion {

// An input or output of a graph: its name, shape and memory.
template <class T>
struct BasicBinding {
    std::string_view name;
    std::array<std::size_t, 4> shape;  // [N, C, H, W], or [1, K] and [1] with `rank`
    std::size_t rank = 4;
    T* data = nullptr;
    std::size_t values() const {
        std::size_t product = 1;
        for (std::size_t i = 0; i < rank; ++i) product *= shape[i];
        return product;
    }
};
using Input = BasicBinding<const float>;
using Output = BasicBinding<float>;

// What a backend offers: the bundle's graphs by file name. Calls may come from any thread.
class Graphs {
  public:
    virtual ~Graphs() = default;
    virtual const std::string& title() const = 0;

    // Begin to open a graph in the background.
    virtual void prefetch(std::string_view name) = 0;

    // Run one graph into the memory of `outputs`. Throws RestoreError.
    virtual void run(std::string_view name, std::span<const Input> inputs, std::span<const Output> outputs) = 0;

    // The denoiser, then the mask head on its `features`, which stay where they are.
    virtual void run_chain(std::string_view first, std::span<const Input> inputs, std::span<const Output> outputs,
                           std::string_view joint, std::string_view second, const Output& last) = 0;
};

// What the graphs of a bundle take and give, for backends to check: names of inputs and outputs, sorted.
struct Signature {
    std::vector<std::string> inputs, outputs;
};
Signature signature_of(const Bundle& bundle, std::string_view name);

// Throws BundleError unless the graph in the file `path` takes and gives what it should.
void check_signature(const std::string& path, const Signature& found, const Signature& wanted);

// The networks of one bundle through a backend's graphs.
class GraphNetworks final : public Networks {
  public:
    GraphNetworks(const Bundle& bundle, std::unique_ptr<Graphs> graphs);

    const std::string& title() const override { return graphs_->title(); }
    void prefetch() override;
    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override;
    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                 Planes shadow) override;

  private:
    std::unique_ptr<Graphs> graphs_;
    std::optional<TimeTable> rows_;
    bool has_prior_, has_head_;
};

}  // namespace shadowdiffusion
