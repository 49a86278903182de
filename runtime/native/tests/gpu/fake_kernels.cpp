// The kernels of kernels/ that the loop launches, pixel by pixel as their docstrings say. Each takes a parameter list,
// whose form the compiler works out from a struct, independently of the launcher.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numbers>

#include "gpu/fake_driver.h"
#include "gpu/tensor_types.h"
#include "loop/philox.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t BLOCK = 512, MASK_BLOCK = 1024, PARTS = 128;

struct Scratch {
    const void *global, *profile;
};

struct StartState {
    float* state;
    std::byte* network;
    const float *y, *clean, *mask, *start;
    const std::int32_t* index;
    const std::int64_t* stream;
    std::int32_t plane, width;
    Scratch scratch;
};

struct PriorStep {
    float* out;
    std::byte* network;
    const float *state, *estimate, *a, *b, *y, *mask, *table;
    const std::int32_t* index;
    const std::int64_t* stream;
    std::int32_t plane, width, estimate_image, estimate_channel, condition;
    Scratch scratch;
};

struct PriorCoefficients {
    float *a, *b, *h;
    const float *y, *clean, *limits, *table;
    const std::int32_t* index;
    std::int32_t plane, clean_image, clean_channel;
    Scratch scratch;
};

struct MaskUpdate {
    float *refined, *seen;
    const float *v, *h, *mask, *sums, *table;
    const std::int32_t* index;
    std::int32_t plane, v_image;
    Scratch scratch;
};

struct ConfidentDepth {
    float* sums;
    const float *h, *mask;
    std::int32_t plane;
    Scratch scratch;
};

struct ConfidentMask {
    float* mask;
    const float *matte, *threshold;
    std::int32_t plane, matte_image;
    Scratch scratch;
};

struct Deviates {
    float n[3];
};

float unit(std::uint32_t word) { return (static_cast<float>(word >> 8) + 0.5f) * 0x1p-24f; }

Deviates gaussian(std::size_t pixel, std::size_t width, std::uint32_t step, const std::int64_t* stream) {
    const auto seed = static_cast<std::uint64_t>(stream[0]);
    const auto x = static_cast<std::uint32_t>(pixel % width) + static_cast<std::uint32_t>(stream[3]);
    const auto y = static_cast<std::uint32_t>(pixel / width) + static_cast<std::uint32_t>(stream[2]);
    const Words w = philox({x, y, step, static_cast<std::uint32_t>(stream[1])}, static_cast<std::uint32_t>(seed),
                           static_cast<std::uint32_t>(seed >> 32));
    const auto radius = [&](std::size_t i) { return std::sqrt(std::abs(-2 * std::log(unit(w[i])))); };
    const auto angle = [&](std::size_t i) { return 2 * std::numbers::pi_v<float> * unit(w[i]); };
    return {{radius(0) * std::cos(angle(1)), radius(0) * std::sin(angle(1)), radius(2) * std::cos(angle(3))}};
}

// The network's input of seven channels, or floats in place of it.
struct Input {
    std::byte* at;
    std::string type;
    void put(std::size_t index, float value) const {
        encode({&value, 1}, type, {at + index * value_size(type), value_size(type)});
    }
};

std::string input_type(std::string_view variant) {
    for (const auto& [kind, type] : {std::pair{"fp16_nchw", "HALF"}, std::pair{"bf16_nchw", "BF16"}})
        if (variant.find(kind) != std::string_view::npos) return type;
    return "FLOAT";
}

// Parameters as they are for one image of a batch.

StartState of_image(StartState p, std::string_view variant, std::size_t image) {
    const std::size_t at = image * static_cast<std::size_t>(p.plane);
    const std::size_t channels = variant.find("_nchw") == std::string_view::npos ? 3 : 7;
    p.state += 3 * at, p.y += 3 * at, p.clean += 3 * at, p.mask += at, p.stream += 4 * image;
    p.network += channels * at * value_size(input_type(variant));
    return p;
}

PriorStep of_image(PriorStep p, std::string_view variant, std::size_t image) {
    const std::size_t at = image * static_cast<std::size_t>(p.plane);
    p.out += 3 * at, p.state += 3 * at, p.a += 3 * at, p.b += 3 * at, p.y += 3 * at, p.mask += at, p.stream += 4 * image;
    p.estimate += image * static_cast<std::size_t>(p.estimate_image);
    p.network += 7 * at * value_size(input_type(variant));
    return p;
}

PriorCoefficients of_image(PriorCoefficients p, std::string_view, std::size_t image) {
    const std::size_t at = image * static_cast<std::size_t>(p.plane);
    p.a += 3 * at, p.b += 3 * at, p.h += 3 * at, p.y += 3 * at, p.clean += image * static_cast<std::size_t>(p.clean_image);
    return p;
}

MaskUpdate of_image(MaskUpdate p, std::string_view, std::size_t image) {
    const std::size_t at = image * static_cast<std::size_t>(p.plane);
    p.refined += at, p.seen += at, p.h += 3 * at, p.mask += at, p.sums += 4 * PARTS * image;
    p.v += image * static_cast<std::size_t>(p.v_image);
    return p;
}

ConfidentDepth of_image(ConfidentDepth p, std::string_view, std::size_t image) {
    const std::size_t at = image * static_cast<std::size_t>(p.plane);
    p.sums += 4 * PARTS * image, p.h += 3 * at, p.mask += at;
    return p;
}

ConfidentMask of_image(ConfidentMask p, std::string_view, std::size_t image) {
    p.mask += image * static_cast<std::size_t>(p.plane), p.matte += image * static_cast<std::size_t>(p.matte_image);
    return p;
}

// Limits that let no number pass that is none.
float clamped(float value, float low, float high) { return value < low ? low : value > high ? high : value; }

void start_state(const StartState& p, std::string_view variant, std::size_t pixel) {
    const auto plane = static_cast<std::size_t>(p.plane);
    const bool packed = variant.find("_nchw") != std::string_view::npos, prior = variant.ends_with("_prior");
    const Deviates n = gaussian(pixel, static_cast<std::size_t>(p.width), static_cast<std::uint32_t>(*p.index), p.stream);
    const Input network{p.network, input_type(variant)};
    for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t i = c * plane + pixel;
        p.state[i] = prior ? p.start[0] * n.n[c] + p.start[1] * (2 * p.clean[i] - 1) : n.n[c];
        network.put(i, 2 * p.y[i] - 1);
        if (packed) network.put(4 * plane + i, p.state[i]);
    }
    if (packed) network.put(3 * plane + pixel, p.mask[pixel]);
}

void prior_step(const PriorStep& p, std::string_view variant, std::size_t pixel) {
    const auto has = [&](std::string_view part) { return variant.find(part) != std::string_view::npos; };
    const auto plane = static_cast<std::size_t>(p.plane);
    const float* row = p.table + 8 * *p.index;
    Deviates n{};
    if (has("_noise"))
        n = gaussian(pixel, static_cast<std::size_t>(p.width), static_cast<std::uint32_t>(*p.index) + 1, p.stream);
    const Input network{p.network, input_type(variant)};
    for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t i = c * plane + pixel;
        const float e = p.estimate[c * static_cast<std::size_t>(p.estimate_channel) + pixel];
        float z = clamped((p.state[i] - row[0] * e) * row[1], -row[6], row[6]);
        if (!has("_free")) z = p.a[i] + p.b[i] * z;
        p.out[i] = has("_last") ? z : row[2] * z + row[3] * e + row[4] * n.n[c];
        if (!has("_nchw")) continue;
        network.put(4 * plane + i, p.out[i]);
        if (p.condition) network.put(i, 2 * p.y[i] - 1);
    }
    if (has("_nchw") && p.condition) network.put(3 * plane + pixel, p.mask[pixel]);
}

void prior_coefficients(const PriorCoefficients& p, std::string_view variant, std::size_t pixel) {
    const auto plane = static_cast<std::size_t>(p.plane);
    const float rho = p.table[8 * *p.index + 5];
    for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t i = c * plane + pixel;
        const float clean = p.clean[c * static_cast<std::size_t>(p.clean_channel) + pixel];
        const float h = clamped((p.y[i] + p.limits[0]) / (clean + p.limits[0]), p.limits[1], p.limits[2]);
        const float scale = 1 / (h * h + rho);
        p.a[i] = (2 * h * p.y[i] - h * h) * scale;
        p.b[i] = rho * scale;
        if (variant.ends_with("_h")) p.h[i] = h;
    }
}

void mask_update(const MaskUpdate& p, std::string_view variant, std::size_t pixel) {
    const auto plane = static_cast<std::size_t>(p.plane);
    const float* row = p.table + 8 * *p.index;
    float m = p.v[pixel];
    if (variant.find("_closed_form") != std::string_view::npos) {
        double sums[4] = {};
        for (std::size_t i = 0; i < 4 * PARTS; ++i) sums[i / PARTS] += static_cast<double>(p.sums[i]);
        float above = row[5] * m, below = row[5];
        for (std::size_t c = 0; c < 3; ++c) {
            const auto depth = static_cast<float>(sums[c] / std::max(1.0, sums[3]));
            above += depth * (1 - p.h[c * plane + pixel]);
            below += depth * depth;
        }
        m = clamped(above / below, 0, 1);
    }
    p.refined[pixel] = m;
    p.seen[pixel] = row[7] != 0 ? m : p.mask[pixel];
}

void confident_depth(const ConfidentDepth& p, std::size_t part) {
    const auto plane = static_cast<std::size_t>(p.plane);
    double sums[4] = {};
    for (std::size_t start = part * BLOCK; start < plane; start += PARTS * BLOCK)
        for (std::size_t pixel = start; pixel < std::min(plane, start + BLOCK); ++pixel) {
            if (!(p.mask[pixel] >= 0.9f)) continue;
            for (std::size_t c = 0; c < 3; ++c) sums[c] += 1 - static_cast<double>(p.h[c * plane + pixel]);
            sums[3] += 1;
        }
    for (std::size_t quantity = 0; quantity < 4; ++quantity)
        p.sums[quantity * PARTS + part] = static_cast<float>(sums[quantity]);
}

void confident_mask(const ConfidentMask& p, std::size_t pixel) {
    p.mask[pixel] = p.matte[pixel] >= *p.threshold ? 1.0f : 0.0f;
}

template <class Parameters>
Parameters unpacked(const std::vector<std::byte>& packed) {
    fake_demand(packed.size() == sizeof(Parameters), "the parameter list of a kernel has another size");
    Parameters parameters;
    std::memcpy(&parameters, packed.data(), packed.size());
    fake_demand(!parameters.scratch.global && !parameters.scratch.profile, "scratch memory is given");
    fake_demand(parameters.plane > 0 && parameters.plane % 16 == 0, "a plane of another size");
    return parameters;
}

// Every pixel of every image that the programs are at.
template <class Parameters, class Pixel>
FakeDriver::Work over(const std::string& variant, std::array<unsigned, 3> grid, const std::vector<std::byte>& packed,
                      std::size_t block, const Pixel& pixel) {
    return [=, p = unpacked<Parameters>(packed)] {
        const std::size_t end = std::min(static_cast<std::size_t>(p.plane), grid[0] * block);
        for (std::size_t image = 0; image < grid[1]; ++image) {
            const Parameters own = of_image(p, variant, image);
            for (std::size_t i = 0; i < end; ++i) pixel(own, i);
        }
    };
}

}  // namespace

std::string fake_entry(std::string_view variant) {
    for (const char* name : {"start_state", "prior_step", "prior_coefficients", "mask_update", "confident_depth", "confident_mask"})
        if (variant.starts_with(name)) return std::string(name) + "_kernel";
    return "";
}

FakeDriver::Work fake_kernel(const std::string& variant, std::array<unsigned, 3> grid, std::vector<std::byte> packed) {
    const std::string entry = fake_entry(variant);
    if (entry == "prior_coefficients_kernel") {
        fake_demand(grid[1] % 3 == 0, "a grid of another form");
        grid[1] /= 3;
    }
    fake_demand(grid[1] >= 1 && grid[2] == 1, "a grid of another form");
    const auto pixels = [&]<class Parameters>(std::size_t block, void (*kernel)(const Parameters&, std::string_view, std::size_t)) {
        return over<Parameters>(variant, grid, packed, block,
                                [=](const Parameters& p, std::size_t i) { kernel(p, variant, i); });
    };
    if (entry == "start_state_kernel") return pixels(BLOCK, start_state);
    if (entry == "prior_step_kernel") return pixels(BLOCK, prior_step);
    if (entry == "prior_coefficients_kernel") return pixels(BLOCK, prior_coefficients);
    if (entry == "mask_update_kernel") return pixels(BLOCK, mask_update);
    if (entry == "confident_mask_kernel")
        return over<ConfidentMask>(variant, grid, packed, MASK_BLOCK, confident_mask);
    fake_demand(entry == "confident_depth_kernel" && grid[0] == PARTS, "an unknown kernel");
    return [=, p = unpacked<ConfidentDepth>(packed)] {
        for (std::size_t image = 0; image < grid[1]; ++image)
            for (std::size_t part = 0; part < PARTS; ++part) confident_depth(of_image(p, variant, image), part);
    };
}

}  // namespace shadowdiffusion
