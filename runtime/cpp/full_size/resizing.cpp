#include "full_size/resizing.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "full_size/resizing.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

HWY_INLINE Vector floats_at(const float* from) { return hn::LoadU(Floats(), from); }

template <class T>
HWY_INLINE Vector floats_at(const T* from) {
    const hn::Rebind<T, Floats> d;
    const hn::Rebind<std::int32_t, Floats> ints;
    return hn::ConvertTo(Floats(), hn::PromoteTo(ints, hn::LoadU(d, from)));
}

// sum[i] += from[i].
template <class T>
HWY_INLINE void accumulate(std::size_t count, const T* from, float* sum) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, sum + i), floats_at(from + i)), d, sum + i);
    for (; i < count; ++i) sum[i] += static_cast<float>(from[i]);
}
void add_bytes(std::size_t count, const std::uint8_t* from, float* sum) { accumulate(count, from, sum); }
void add_shorts(std::size_t count, const std::uint16_t* from, float* sum) { accumulate(count, from, sum); }
void add_floats(std::size_t count, const float* from, float* sum) { accumulate(count, from, sum); }

// sum[i] += weight * from[i].
void add_scaled(std::size_t count, float weight, const float* from, float* sum) {
    const Vector w = hn::Set(Floats(), weight);
    map(
        count, sum, [&](Vector s, Vector v) HWY_ATTR { return hn::MulAdd(w, v, s); }, static_cast<const float*>(sum), from);
}

// out = low + weight (high - low).
void lerp(std::size_t count, float weight, const float* low, const float* high, float* out) {
    const Vector w = hn::Set(Floats(), weight);
    map(
        count, out, [&](Vector a, Vector b) HWY_ATTR { return hn::MulAdd(w, hn::Sub(b, a), a); }, low, high);
}

template <std::size_t channels>
HWY_INLINE void lerp_pixels(std::size_t count, const std::size_t* first, const std::size_t* second, const float* weight,
                            const float* row, float* out) {
    for (std::size_t i = 0; i < count; ++i) {
        const float *low = row + first[i] * channels, *high = row + second[i] * channels;
        for (std::size_t c = 0; c < channels; ++c) out[i * channels + c] = low[c] + weight[i] * (high[c] - low[c]);
    }
}
void lerp_columns(std::size_t count, std::size_t channels, const std::size_t* first, const std::size_t* second,
                  const float* weight, const float* row, float* out) {
    if (channels == 3)
        lerp_pixels<3>(count, first, second, weight, row, out);
    else
        lerp_pixels<1>(count, first, second, weight, row, out);
}

void scaled(std::size_t count, float divisor, float* values) {
    const Vector by = hn::Set(Floats(), divisor), zero = hn::Zero(Floats()), one = hn::Set(Floats(), 1.0f);
    map(
        count, values, [&](Vector v) HWY_ATTR { return hn::Min(hn::Max(hn::Div(v, by), zero), one); },
        static_cast<const float*>(values));
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <array>
#include <cmath>

#include "full_size/reduction.h"

namespace shadowdiffusion {

namespace {

HWY_EXPORT(add_bytes);
HWY_EXPORT(add_shorts);
HWY_EXPORT(add_floats);
HWY_EXPORT(add_scaled);
HWY_EXPORT(lerp);
HWY_EXPORT(lerp_columns);
HWY_EXPORT(scaled);

constexpr std::size_t STRIP = 16;      // rows that libvips makes at a time (vips__fatstrip_height)
constexpr std::size_t BAND = 64;       // rows of a reduced photo that are made together
constexpr std::size_t SEGMENT = 4096;  // values of a row at a time: they stay in a core's first cache

void add(std::size_t count, const ImageView& photo, std::size_t y, std::size_t from, float* sum) {
    if (photo.type == PixelType::uint8)
        HWY_DYNAMIC_DISPATCH(add_bytes)(count, photo.row<std::uint8_t>(y) + from, sum);
    else if (photo.type == PixelType::uint16)
        HWY_DYNAMIC_DISPATCH(add_shorts)(count, photo.row<std::uint16_t>(y) + from, sum);
    else
        HWY_DYNAMIC_DISPATCH(add_floats)(count, photo.row<float>(y) + from, sum);
}

// The means of blocks of down.block x across.block pixels, one row of them.
void average(const ImageView& photo, const Reduction& down, const Reduction& across, std::size_t row, float* out) {
    std::array<float, SEGMENT> sum;
    const std::size_t channels = photo.bands, values = photo.width * channels;
    const double share = 1 / static_cast<double>(down.block * across.block);
    std::array<double, 3> total{};
    std::size_t block = 0, within = 0;  // pixels of it that are in `total`
    const auto take = [&](const float* pixel) {
        for (std::size_t c = 0; c < channels; ++c) total[c] += static_cast<double>(pixel[c]);
        if (++within < across.block) return;
        for (std::size_t c = 0; c < channels; ++c) out[block * channels + c] = static_cast<float>(total[c] * share);
        total = {}, within = 0, ++block;
    };
    const std::size_t step = SEGMENT / 3 * channels;  // whole pixels
    for (std::size_t from = 0; from < values; from += step) {
        const std::size_t count = std::min(step, values - from);
        std::fill_n(sum.data(), count, 0.0f);
        for (std::size_t i = 0; i < down.block; ++i)
            add(count, photo, std::min(row * down.block + i, photo.height - 1), from, sum.data());
        for (std::size_t i = 0; i < count; i += channels) take(&sum[i]);
        if (from + count == values)
            while (within > 0) take(&sum[count - channels]);
    }
}

// Row y of a reduced photo: a weighted sum of rows of means, then of their pixels. means begins with row `top`; `sum` has
// room for one of its rows.
void weigh(std::span<const float> means, std::size_t top, const Reduction& down, const Reduction& across, std::size_t y,
           std::size_t channels, std::span<float> sum, float* out) {
    std::ranges::fill(sum, 0.0f);
    const std::span<const float> weights = down.weights_at(y);
    for (std::size_t i = 0; i < down.points; ++i) {
        const std::size_t from = down.clamped(down.first[y] + static_cast<std::ptrdiff_t>(i)) - top;
        HWY_DYNAMIC_DISPATCH(add_scaled)(sum.size(), weights[i], &means[from * sum.size()], sum.data());
    }
    for (std::size_t x = 0; x < across.target; ++x) {
        const std::span<const float> taps = across.weights_at(x);
        for (std::size_t c = 0; c < channels; ++c) {
            float value = 0;
            for (std::size_t i = 0; i < across.points; ++i)
                value += taps[i] * sum[across.clamped(across.first[x] + static_cast<std::ptrdiff_t>(i)) * channels + c];
            out[x * channels + c] = value;
        }
    }
}

// `photo` in the numbers of its type to `small`, some rows after the others, so that the means need little memory.
void reduce(const ImageView& photo, Field small, Arena& arena, Workers& workers) {
    const Arena::Scope scope(arena);
    const Reduction down = reduction(photo.height, small.height, STRIP, arena);
    const Reduction across = reduction(photo.width, small.width, small.width, arena);
    const std::size_t channels = photo.bands, row = across.blocks * channels;
    for (std::size_t top = 0; top < small.height; top += BAND) {
        const Arena::Scope band(arena);
        const std::size_t bottom = std::min(top + BAND, small.height);
        const std::size_t first = down.clamped(down.first[top]);
        const std::size_t last = down.clamped(down.first[bottom - 1] + static_cast<std::ptrdiff_t>(down.points) - 1);
        const std::span<float> means = arena.take<float>((last + 1 - first) * row);
        workers.over(last + 1 - first, 4, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) average(photo, down, across, first + i, &means[i * row]);
        });
        const std::span<float> sums = arena.take<float>((bottom - top) * row);
        workers.over(bottom - top, 4, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i)
                weigh(means, first, down, across, top + i, channels, sums.subspan(i * row, row), small.row(top + i));
        });
    }
}

}  // namespace

Size reduced_size(Size whole, std::size_t long_side) {
    const auto [height, width] = whole;
    const double factor = static_cast<double>(long_side) / static_cast<double>(std::max(height, width));
    if (factor >= 1) return whole;
    const auto side = [&](std::size_t length) {  // half-way cases to even numbers, as Python's round()
        return static_cast<std::size_t>(std::max(1.0, std::nearbyint(static_cast<double>(length) * factor)));
    };
    return {side(height), side(width)};
}

void reduced(const ImageView& photo, Field small, Arena& arena, Workers& workers) {
    reduce(photo, small, arena, workers);
    const float whole = whole_of(photo.type);
    workers.over(small.height, 16, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(scaled)((end - begin) * small.row_values(), whole, small.row(begin));
    });
}

void reduced_to(ConstField field, Field small, Arena& arena, Workers& workers) {
    const ImageView view{reinterpret_cast<const std::byte*>(field.values.data()), PixelType::float32, field.height,
                         field.width, field.channels, field.row_values() * sizeof(float)};
    reduce(view, small, arena, workers);
}

Neighbours neighbours(std::size_t length, std::size_t source, Arena& arena) {
    const Neighbours of{arena.take<std::size_t>(length), arena.take<std::size_t>(length), arena.take<float>(length)};
    const double scale = static_cast<double>(source) / static_cast<double>(length);
    for (std::size_t i = 0; i < length; ++i) {
        const double position = (static_cast<double>(i) + 0.5) * scale - 0.5;
        const double held = std::clamp(position, 0.0, static_cast<double>(source - 1));
        of.first[i] = static_cast<std::size_t>(held);
        of.second[i] = std::min(of.first[i] + 1, source - 1);
        of.weight[i] = static_cast<float>(held - static_cast<double>(of.first[i]));
    }
    return of;
}

Enlarged::Enlarged(ConstField field, std::size_t height, std::size_t width, Arena& arena)
    : field_(field), rows_(neighbours(height, field.height, arena)), columns_(neighbours(width, field.width, arena)) {}

void Enlarged::piece(std::size_t y, std::size_t x, std::size_t count, float* out) const {
    // at most one source pixel for each of the piece's, and one more at either end
    std::array<float, 3 * (PIECE + 2)> between;
    const std::size_t channels = field_.channels, left = columns_.first[x], right = columns_.second[x + count - 1];
    const float *low = field_.row(rows_.first[y]) + left * channels, *high = field_.row(rows_.second[y]) + left * channels;
    HWY_DYNAMIC_DISPATCH(lerp)((right - left + 1) * channels, rows_.weight[y], low, high, between.data());
    // columns are counted from the left one of the piece
    const float* row = between.data() - left * channels;
    HWY_DYNAMIC_DISPATCH(lerp_columns)
    (count, channels, &columns_.first[x], &columns_.second[x], &columns_.weight[x], row, out);
}

void enlarged(ConstField field, Field large, Arena& arena, Workers& workers) {
    const Arena::Scope scope(arena);
    const Enlarged pieces(field, large.height, large.width, arena);
    workers.over(large.height, 8, [&](std::size_t begin, std::size_t end) {
        for (std::size_t y = begin; y < end; ++y)
            for (std::size_t x = 0; x < large.width; x += Enlarged::PIECE)
                pieces.piece(y, x, std::min(Enlarged::PIECE, large.width - x), large.row(y) + x * large.channels);
    });
}

}  // namespace shadowdiffusion
#endif
