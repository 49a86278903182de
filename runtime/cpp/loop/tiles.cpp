#include "loop/tiles.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "text.h"

namespace shadowdiffusion {

namespace {

constexpr std::size_t CHANNELS = 3 + 1 + 3 + 3 + 1;  // of all inputs and outputs of a denoiser

// What one tile weighs in one axis before all that meet there are made to add up to 1.
std::vector<double> raw_weights(std::size_t begin, std::size_t tile, std::size_t length, std::size_t overlap) {
    std::vector<double> weights(tile);
    for (std::size_t i = 0; i < tile; ++i) {
        const auto ramp = [&](std::size_t from_end) {
            return (static_cast<double>(from_end) + 0.5) / static_cast<double>(overlap);
        };
        const double rise = begin > 0 ? ramp(i) : 1, fall = begin + tile < length ? ramp(tile - 1 - i) : 1;
        const double sine = std::sin(std::numbers::pi / 2 * std::min({rise, fall, 1.0}));
        weights[i] = sine * sine;
    }
    return weights;
}

}  // namespace

std::size_t tile_count(std::size_t length, std::size_t tile) {
    if (tile >= length) return 1;
    const std::size_t overlap = std::min(OVERLAP, tile / 2), step = tile - overlap;
    return (length - overlap + step - 1) / step;
}

std::vector<Span> spans(std::size_t length, std::size_t tile, std::size_t multiple) {
    if (tile >= length) return {{0, std::vector<float>(length, 1.0f)}};
    const std::size_t overlap = std::min(OVERLAP, tile / 2), count = tile_count(length, tile);
    const double step = static_cast<double>(length - tile) / static_cast<double>(count - 1);
    std::vector<std::size_t> begins;
    std::vector<std::vector<double>> weights;
    std::vector<double> total(length);
    for (std::size_t i = 0; i < count; ++i) {
        const double place = i + 1 == count ? static_cast<double>(length - tile) : static_cast<double>(i) * step;
        // to the nearest multiple, half-way ones to even ones, as Python does
        begins.push_back(static_cast<std::size_t>(std::nearbyint(place / static_cast<double>(multiple))) * multiple);
        weights.push_back(raw_weights(begins[i], tile, length, overlap));
        for (std::size_t x = 0; x < tile; ++x) total[begins[i] + x] += weights[i][x];
    }
    std::vector<Span> found;
    for (std::size_t i = 0; i < count; ++i) {
        Span span{begins[i], std::vector<float>(tile)};
        for (std::size_t x = 0; x < tile; ++x) span.weights[x] = static_cast<float>(weights[i][x] / total[begins[i] + x]);
        found.push_back(std::move(span));
    }
    return found;
}

TiledNetworks::TiledNetworks(Networks& networks, Size whole, Size tile, std::size_t multiple)
    : networks_(networks),
      title_(text(networks.title(), ", in tiles of ", tile.second, "x", tile.first, " pixels")),
      rows_(spans(whole.first, tile.first, multiple)), columns_(spans(whole.second, tile.second, multiple)),
      height_(rows_.front().weights.size()), width_(columns_.front().weights.size()),
      memory_(CHANNELS * height_ * width_) {}

void TiledNetworks::prior(ConstPlanes image, ConstPlanes mask, Planes clean, Planes matte) {
    over_tiles({image, mask}, {clean, matte}, [&](const Planes* in, const Planes* out) {
        networks_.prior(in[0], in[1], out[0], out[1]);
    });
}

void TiledNetworks::denoise(ConstPlanes y, ConstPlanes mask, ConstPlanes x_t, const Step& step, Planes noise,
                            Planes shadow) {
    over_tiles({y, mask, x_t}, {noise, shadow}, [&](const Planes* in, const Planes* out) {
        networks_.denoise(in[0], in[1], in[2], step, out[0], out[1]);
    });
}

// Calls run(inputs, outputs) on every tile, and blends the outputs.
template <class Run>
void TiledNetworks::over_tiles(std::initializer_list<ConstPlanes> inputs, std::initializer_list<Planes> outputs,
                               const Run& run) {
    const std::size_t area = height_ * width_;
    std::vector<Planes> in, out;
    std::size_t used = 0;
    const auto piece = [&](ConstPlanes of) {
        const std::span<float> values = std::span(memory_).subspan(used, of.absent() ? 0 : of.channels * area);
        used += values.size();
        return of.absent() ? Planes{} : Planes{values, of.channels, height_, width_};
    };
    for (const ConstPlanes& planes : inputs) in.push_back(piece(planes));
    for (const Planes& planes : outputs) {
        out.push_back(piece(planes));
        std::ranges::fill(planes.values, 0.0f);
    }
    // calls do(row of the whole, row of the tile, y) for the rows of one channel after the other
    const auto over_rows = [&](auto whole, auto part, const Span& rows, const Span& columns, const auto& act) {
        for (std::size_t c = 0; c < part.channels; ++c)
            for (std::size_t y = 0; y < height_; ++y)
                act(whole.plane(c).data() + (rows.begin + y) * whole.width + columns.begin,
                    part.plane(c).data() + y * width_, y);
    };
    for (const Span& rows : rows_)
        for (const Span& columns : columns_) {
            for (std::size_t i = 0; i < in.size(); ++i)
                over_rows(inputs.begin()[i], in[i], rows, columns, [&](const float* from, float* to, std::size_t) {
                    std::copy_n(from, width_, to);
                });
            run(in.data(), out.data());
            for (std::size_t i = 0; i < out.size(); ++i)
                over_rows(outputs.begin()[i], out[i], rows, columns, [&](float* to, const float* from, std::size_t y) {
                    for (std::size_t x = 0; x < width_; ++x) to[x] += rows.weights[y] * columns.weights[x] * from[x];
                });
        }
}

}  // namespace shadowdiffusion
