#include "gpu/fake_device_networks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "errors.h"
#include "gpu/fake_driver.h"
#include "gpu/tensor_types.h"
#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t FEATURES = 4;

// A tensor's values where they are floats, or halves.
std::vector<float> values_at(const DeviceTensor& tensor, const std::string& type) {
    const std::size_t count = values_of(tensor.shape);
    const std::byte* from = fake_driver().at(tensor.address, count * value_size(type));
    std::vector<float> values(count);
    if (type == "FLOAT") {
        std::memcpy(values.data(), from, 4 * count);
        return values;
    }
    for (std::size_t i = 0; i < count; ++i) {  // normal halves, and zero
        std::uint16_t bits;
        std::memcpy(&bits, from + 2 * i, 2);
        const double fraction = (bits & 0x3FF) / 1024.0;
        const int exponent = bits >> 10 & 0x1F;
        const double size = exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
        values[i] = static_cast<float>(exponent == 31 ? std::numeric_limits<double>::quiet_NaN() : bits >> 15 ? -size : size);
    }
    return values;
}

std::span<float> floats_at(const DeviceTensor& tensor) {
    const std::size_t count = values_of(tensor.shape);
    return {reinterpret_cast<float*>(fake_driver().at(tensor.address, 4 * count)), count};
}

float sigmoid(float value) { return 1 / (1 + std::exp(-value)); }

class FakeExecution final : public Execution {
  public:
    FakeExecution(const Cuda& cuda, std::string name, const Tensors& tensors, const Bound& inputs, const Bound& outputs,
                  const DeviceTraits& traits)
        : cuda_(cuda), name_(std::move(name)), infos_(tensors), traits_(traits), bound_(inputs) {
        Shape image;
        for (const auto& [input, tensor] : inputs)
            if (tensor.shape.size() == 4) image = tensor.shape;
        images_ = static_cast<std::size_t>(image[0]);
        for (const auto& [tensor, info] : tensors) {
            fake_demand(info.input == inputs.contains(tensor), "a network gets other inputs than it takes");
            if (info.input) continue;
            const std::int64_t channels = tensor == "shadow" || tensor == "matte" ? 1 : tensor == "features" ? FEATURES : 3;
            const Shape shape = {image[0], channels, image[2], image[3]};
            if (const auto given = outputs.find(tensor); given != outputs.end()) {
                bound_[tensor] = {given->second.address, shape};
            } else {
                buffers_.emplace_back(cuda, 4 * values_of(shape));
                bound_[tensor] = {buffers_.back().address(), shape};
            }
        }
    }

    const Bound& tensors() const override { return bound_; }

    void enqueue() override {
        FakeDriver& driver = fake_driver();
        if (driver.capture && (!warm_ || traits_.refuses_in_capture)) {  // it has to set itself up first
            driver.capture->broken = CAPTURE_INVALIDATED;
            throw RestoreError(text(name_, " did not start: it was refused"));
        }
        warm_ = true;
        driver.enqueue(cuda_.stream(), name_, [this] { run(); });
    }

    std::optional<std::string> uncapturable() const override {
        if (traits_.uncapturable.empty()) return {};
        return traits_.uncapturable;
    }

  private:
    void run() const {
        for (std::size_t image = 0; image < images_; ++image) {
            if (name_ == PRIOR)
                run_prior(image);
            else if (name_ == MASK_HEAD)
                run_head(image);
            else
                run_denoiser(image);
        }
    }

    // What a tensor has for one of the images; of the denoiser's rows, which are for all of them, everything.
    std::vector<float> read(std::string_view input, std::size_t image) const {
        const DeviceTensor& tensor = bound_.find(input)->second;
        const std::vector<float> all = values_at(tensor, infos_.find(input)->second.type);
        if (input == "row") return all;
        const auto size = static_cast<std::ptrdiff_t>(all.size() / images_), first = static_cast<std::ptrdiff_t>(image) * size;
        return {all.begin() + first, all.begin() + first + size};
    }
    std::span<float> output(std::string_view name, std::size_t image) const {
        const std::span<float> all = floats_at(bound_.find(name)->second);
        return all.subspan(image * all.size() / images_, all.size() / images_);
    }

    void run_prior(std::size_t number) const {
        const std::vector<float> image = read("image", number), mask = read("mask", number);
        const std::span<float> clean = output("clean", number), matte = output("matte", number);
        for (std::size_t i = 0; i < image.size(); ++i)
            clean[i] = std::clamp(image[i] * (1 + 0.5f * mask[i % mask.size()]), 0.0f, 1.0f);
        for (std::size_t i = 0; i < mask.size(); ++i) matte[i] = image[i] * mask[i];
    }

    void run_denoiser(std::size_t number) const {
        std::vector<float> image, mask, x;
        if (traits_.packed.empty()) {
            image = read("image", number), mask = read("mask", number), x = read("x_t", number);
        } else {
            const std::vector<float> all = read(PACKED_INPUT, number);
            const auto third = static_cast<std::ptrdiff_t>(3 * all.size() / 7), plane = third / 3;
            image.assign(all.begin(), all.begin() + third);
            mask.assign(all.begin() + third, all.begin() + third + plane);
            x.assign(all.begin() + third + plane, all.end());
        }
        const std::vector<float> time = read(infos_.contains("row") ? "row" : "t", number);
        const float phase = time.size() == 1 ? time[0] / 100 : time[1] + time[4];
        const std::span<float> noise = output("noise", number);
        const std::size_t plane = mask.size();
        for (std::size_t i = 0; i < x.size(); ++i)
            noise[i] = 0.3f * x[i] - 0.2f * image[(i + plane) % image.size()] + 0.1f * mask[i % plane] + 0.05f * phase;
        if (traits_.broken && number + 1 == images_) noise[plane] = std::numeric_limits<float>::quiet_NaN();
        if (infos_.contains("shadow"))
            for (std::size_t i = 0; i < plane; ++i)
                output("shadow", number)[i] = sigmoid(2 * mask[i] + x[i] - image[i] + phase);
        if (infos_.contains("features"))
            for (std::size_t i = 0; i < plane; ++i) {
                const std::span<float> features = output("features", number);
                features[i] = mask[i], features[plane + i] = x[i];
                features[2 * plane + i] = image[i], features[3 * plane + i] = phase;
            }
    }

    void run_head(std::size_t number) const {
        const std::vector<float> f = read("features", number);
        const std::span<float> shadow = output("shadow", number);
        const std::size_t plane = shadow.size();
        for (std::size_t i = 0; i < plane; ++i)
            shadow[i] = sigmoid(2 * f[i] + f[plane + i] - f[2 * plane + i] + f[3 * plane + i]);
    }

    const Cuda& cuda_;
    const std::string name_;
    const Tensors& infos_;
    const DeviceTraits& traits_;
    Bound bound_;
    std::vector<DeviceBuffer> buffers_;
    std::size_t images_ = 1;
    bool warm_ = false;
};

class FakeDeviceNetworks final : public DeviceNetworks {
  public:
    FakeDeviceNetworks(const Bundle& bundle, const DeviceTraits& traits) : DeviceNetworks(bundle), traits_(traits) {
        const TensorInfo input{true, "FLOAT", {}, {}}, output{false, "FLOAT", {}, {}};
        infos_[std::string(PRIOR)] = {{"image", input}, {"mask", input}, {"clean", output}, {"matte", output}};
        infos_[std::string(MASK_HEAD)] = {{"features", input}, {"shadow", output}};
        Tensors& denoiser = infos_[std::string(DENOISER)];
        denoiser = {{time_name(), input}, {"noise", {false, traits.output, {}, {}}}};
        denoiser[bundle.has(MASK_HEAD) ? "features" : "shadow"] = output;
        if (traits.packed.empty())
            denoiser["image"] = denoiser["mask"] = denoiser["x_t"] = input;
        else
            denoiser[std::string(PACKED_INPUT)] = {true, traits.packed, {}, {}};
    }
    ~FakeDeviceNetworks() override { forget(); }

    const std::string& title() const override { return title_; }
    std::optional<std::pair<Size, Size>> sizes() const override { return {{traits_.least, traits_.most}}; }
    const Tensors& tensors(std::string_view name) const override { return infos_.find(name)->second; }

    std::size_t batch() const override { return traits_.batch; }

    void check_size(std::string_view name, std::size_t images, Size size) override {
        fake_demand(images <= traits_.batch, "a network gets more images than it takes");
        const auto [low, high] = std::pair{traits_.least, traits_.most};
        if (size.first < low.first || size.second < low.second || size.first > high.first || size.second > high.second)
            throw RestoreError(text(name, " does not take ", size.first, "x", size.second));
    }

    std::unique_ptr<Execution> execution(std::string_view name, const Bound& inputs, const Bound& outputs) override {
        return std::make_unique<FakeExecution>(cuda(), std::string(name), tensors(name), inputs, outputs, traits_);
    }

  private:
    const DeviceTraits traits_;
    const std::string title_ = "networks on an imaginary GPU";
    std::map<std::string, Tensors, std::less<>> infos_;
};

}  // namespace

std::unique_ptr<DeviceNetworks> fake_device_networks(const Bundle& bundle, const DeviceTraits& traits) {
    return std::make_unique<FakeDeviceNetworks>(bundle, traits);
}

}  // namespace shadowdiffusion
