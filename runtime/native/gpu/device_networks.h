// What the loop on the GPU asks of networks: to run on memory that is there already. A backend is one file for it. Twin
// of runtime/gpu/device_networks.py.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/networks.h"
#include "bundle/bundle.h"
#include "bundle/time_table.h"
#include "gpu/cuda.h"

namespace shadowdiffusion {

using Shape = std::vector<std::int64_t>;

// Values in a tensor of this shape.
std::size_t values_of(const Shape& shape);

inline constexpr std::string_view PACKED_INPUT = "input";  // of a denoiser that takes y, mask and x_t as [N, 7, H, W]

// An input or output of a network. least, most: of an input's sizes by the profile, if it has one.
struct TensorInfo {
    bool input = false;
    std::string type;  // as TensorRT names it: "FLOAT", "HALF", "BF16"
    Shape least, most;
};
using Tensors = std::map<std::string, TensorInfo, std::less<>>;

// A tensor on the device.
struct DeviceTensor {
    CudaAddress address = 0;
    Shape shape;
};
using Bound = std::map<std::string, DeviceTensor, std::less<>>;

// A network at one number and size of images with all its memory in place, so that nothing but its launch is left.
class Execution {
  public:
    virtual ~Execution() = default;

    // Every input and output.
    virtual const Bound& tensors() const = 0;

    // Give the network to the stream. Throws RestoreError if it is refused, which it may be in a capture.
    virtual void enqueue() = 0;

    // Why a CUDA graph cannot hold it, as far as that is known beforehand.
    virtual std::optional<std::string> uncapturable() const { return {}; }
};

// Networks whose work goes to the stream of `cuda`. As `Networks`, they take photos up and bring results down by
// themselves.
class DeviceNetworks : public Networks {
  public:
    // Throws RestoreError where there is no GPU.
    explicit DeviceNetworks(const Bundle& bundle);
    ~DeviceNetworks() override;

    const Cuda& cuda() const { return cuda_; }

    // For whoever uses the stream.
    std::mutex& turn() { return turn_; }

    // Images at once, at most.
    virtual std::size_t batch() const { return 1; }

    // The denoiser's input for time, its shape for so many images, and its values at a step.
    std::string time_name() const { return rows_ ? "row" : "t"; }
    Shape time_shape(std::size_t images) const;
    std::vector<float> time(const Step& step, std::size_t images) const;

    // Inputs and outputs of one of the networks. Throws RestoreError.
    virtual const Tensors& tensors(std::string_view name) const = 0;

    // Throws RestoreError unless a network takes so many images of this size.
    virtual void check_size(std::string_view name, std::size_t images, Size size) = 0;

    // One of the networks on that memory; outputs that are not given get memory of their own. Throws OutOfMemoryError
    // where there is too little, and RestoreError.
    virtual std::unique_ptr<Execution> execution(std::string_view name, const Bound& inputs, const Bound& outputs) = 0;

    bool on_host() const override { return false; }
    void prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) override;
    void denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise, Planes shadow) override;

  protected:
    // Let go of all executions, which the networks of a backend must outlive.
    void forget();

  private:
    struct Given;
    struct Ready;
    Ready& ready(std::string_view name, std::span<const Given> inputs);
    Execution& enqueued(std::string_view name, std::span<const Given> inputs);
    Execution& enqueued_head(Execution& denoiser);
    void fetch(std::string_view name, const Execution& from, std::string_view output, Planes into) const;

    std::optional<TimeTable> rows_;
    bool has_head_;
    Cuda cuda_;
    std::mutex turn_;
    std::map<std::string, std::unique_ptr<Ready>, std::less<>> ready_;  // by network, at the latest size
};

}  // namespace shadowdiffusion
