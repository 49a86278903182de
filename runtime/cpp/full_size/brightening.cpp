#include "full_size/brightening.h"

#include "pixels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "full_size/brightening.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "full_size/illumination.h"
#include "light-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

inline constexpr float NOISE_TO_COLOUR = 0.4f;  // noise of the photo over the colour contrast of its texture
inline constexpr float TOE = 0.003f;            // linear light below which the sRGB curve is nearly straight

HWY_INLINE Vector luminance(Vector red, Vector green, Vector blue) {
    const Vector first = hn::Mul(red, all(LUMINANCE[0]));
    return hn::MulAdd(blue, all(LUMINANCE[2]), hn::MulAdd(green, all(LUMINANCE[1]), first));
}

// How much of a pixel's colour comes from the working size, given its luminance before and after: with a = how much
// steeper the encoded result is than the encoded photo, and n = NOISE_TO_COLOUR, noise has (a n)^2 times the variance
// of texture, and Wiener's weight of the reference follows. Noise as it was, a = 1, is left alone.
HWY_INLINE Vector calming(Vector before, Vector after) {
    // slopes of the sRGB curve, c (light + TOE)^(1 / 2.4 - 1)
    const Vector curve = power(hn::Div(hn::Add(after, all(TOE)), hn::Add(before, all(TOE))), 1 / 2.4f - 1);
    const Vector steeper = hn::Mul(hn::Div(after, before), curve);
    const Vector rise = hn::Mul(all(NOISE_TO_COLOUR), hn::Max(hn::Sub(steeper, all(1)), all(0)));
    const Vector noise = hn::Mul(rise, rise);
    return hn::Div(noise, hn::Add(all(1), noise));
}

HWY_INLINE Vector finished(Vector light, float whole) {
    const Vector inside = hn::Min(hn::Max(hn::Sub(light, all(FLOOR)), all(0)), all(1));
    return hn::Mul(encoded_of(inside), all(whole));
}

// Colour pixels: light is linear + FLOOR [count, 3], and becomes what is stored, not rounded. gain and colours likewise.
// All have room for whole vectors.
void colour_pixels(std::size_t count, float* light, const float* gain, const float* colours, float whole) {
    const Floats d;
    for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
        Vector before[3], change[3], colour[3], after[3];
        hn::LoadInterleaved3(d, light + 3 * i, before[0], before[1], before[2]);
        hn::LoadInterleaved3(d, gain + 3 * i, change[0], change[1], change[2]);
        for (int c = 0; c < 3; ++c) after[c] = hn::Mul(before[c], hn::Exp(d, change[c]));
        const Vector old = luminance(before[0], before[1], before[2]), now = luminance(after[0], after[1], after[2]);
        const Vector weight = calming(old, now);
        if (!hn::AllTrue(d, hn::Le(weight, all(0)))) {
            hn::LoadInterleaved3(d, colours + 3 * i, colour[0], colour[1], colour[2]);
            const Vector scale = hn::Div(now, luminance(colour[0], colour[1], colour[2]));
            for (int c = 0; c < 3; ++c)
                after[c] = hn::MulAdd(weight, hn::Sub(hn::Mul(colour[c], scale), after[c]), after[c]);
        }
        for (int c = 0; c < 3; ++c) after[c] = finished(after[c], whole);
        hn::StoreInterleaved3(after[0], after[1], after[2], d, light + 3 * i);
    }
}

void grey_pixels(std::size_t count, float* light, const float* gain, float whole) {
    const auto of = [&](Vector before, Vector change) HWY_ATTR {
        return finished(hn::Mul(before, hn::Exp(Floats(), change)), whole);
    };
    map(count, light, of, static_cast<const float*>(light), gain);
}

// Rounded to integers, half-way cases to even ones. `values` has room for whole vectors.
template <class T>
HWY_INLINE void round_to(std::size_t count, const float* values, T* out) {
    const Floats d;
    const hn::Rebind<T, Floats> narrow;
    HWY_ALIGN T rest[hn::MaxLanes(d)];
    for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
        const auto rounded = hn::DemoteTo(narrow, hn::NearestInt(hn::LoadU(d, values + i)));
        if (i + hn::Lanes(d) <= count) {
            hn::StoreU(rounded, narrow, out + i);
            continue;
        }
        hn::StoreU(rounded, narrow, rest);
        std::copy(rest, rest + (count - i), out + i);
    }
}
void round_to_bytes(std::size_t count, const float* values, std::uint8_t* out) { round_to(count, values, out); }
void round_to_shorts(std::size_t count, const float* values, std::uint16_t* out) { round_to(count, values, out); }

// (linear light of the photo + FLOOR) exp(gain), of encoded values.
void brightened_light(std::size_t count, float factor, const float* encoded, const float* gain, float* out) {
    const auto of = [&](Vector v, Vector g) HWY_ATTR {
        return hn::Mul(hn::Add(linear_of(v), all(FLOOR)), hn::Exp(Floats(), hn::Mul(all(factor), g)));
    };
    map(count, out, of, encoded, gain);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <array>
#include <cstring>

#include "full_size/refinement.h"
#include "full_size/resizing.h"

namespace shadowdiffusion {

namespace {

HWY_EXPORT(colour_pixels);
HWY_EXPORT(grey_pixels);
HWY_EXPORT(round_to_bytes);
HWY_EXPORT(round_to_shorts);
HWY_EXPORT(brightened_light);

constexpr std::size_t GRAIN = 1 << 13;  // values
constexpr std::size_t PIECE = Enlarged::PIECE;
constexpr std::size_t ROOM = 3 * PIECE;  // PIECE is a multiple of any number of lanes

// Linear light + FLOOR by the integers of a type; nothing for floats.
std::span<const float> light_table(PixelType type, Arena& arena) {
    if (type == PixelType::float32) return {};
    const auto whole = static_cast<std::size_t>(whole_of(type));
    const std::span<float> table = arena.take<float>(whole + 1);
    for (std::size_t i = 0; i <= whole; ++i) table[i] = static_cast<float>(i) / whole_of(type);
    to_linear(table, table);
    for (float& value : table) value += FLOOR;
    return table;
}

// Linear light + FLOOR of some numbers of a row.
void light_of(const ImageView& photo, std::span<const float> table, std::size_t y, std::size_t from, std::size_t count,
              float* out) {
    if (photo.type == PixelType::float32) {
        to_linear({photo.row<float>(y) + from, count}, {out, count});
        for (std::size_t i = 0; i < count; ++i) out[i] += FLOOR;
    } else if (photo.type == PixelType::uint8) {
        const auto* row = photo.row<std::uint8_t>(y) + from;
        for (std::size_t i = 0; i < count; ++i) out[i] = table[row[i]];
    } else {
        const auto* row = photo.row<std::uint16_t>(y) + from;
        for (std::size_t i = 0; i < count; ++i) out[i] = table[row[i]];
    }
}

void store(const float* values, std::size_t count, const MutableImageView& result, std::size_t y, std::size_t from) {
    if (result.type == PixelType::float32)
        std::copy_n(values, count, result.row<float>(y) + from);
    else if (result.type == PixelType::uint8)
        HWY_DYNAMIC_DISPATCH(round_to_bytes)(count, values, result.row<std::uint8_t>(y) + from);
    else
        HWY_DYNAMIC_DISPATCH(round_to_shorts)(count, values, result.row<std::uint16_t>(y) + from);
}

void copy(const ImageView& photo, const MutableImageView& result) {
    if (photo.data == result.data) return;
    for (std::size_t y = 0; y < photo.height; ++y)
        std::memcpy(result.row<std::byte>(y), photo.row<std::byte>(y), photo.row_bytes());
}

}  // namespace

void brighten(const ImageView& photo, ConstField small, ConstField gain, float strength, const MutableImageView& result,
              Arena& arena, Workers& workers) {
    if (strength == 0) return copy(photo, result);
    const Arena::Scope scope(arena);
    const std::size_t channels = photo.bands;
    const std::span<const float> table = light_table(photo.type, arena);
    const Field reference{arena.take<float>(gain.values.size()), gain.height, gain.width, channels};
    workers.over(gain.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(brightened_light)
        (end - begin, strength, &small.values[begin], &gain.values[begin], &reference.values[begin]);
    });
    const ConstField fine = refined(photo, gain, arena, workers);
    const Field scaled{arena.take<float>(fine.values.size()), fine.height, fine.width, channels};
    std::ranges::transform(fine.values, scaled.values.begin(), [=](float g) { return strength * g; });
    const Enlarged gains(scaled, photo.height, photo.width, arena);
    const Enlarged colours(reference, photo.height, photo.width, arena);
    const float whole = whole_of(photo.type);

    workers.over(photo.height, 4, [&](std::size_t begin, std::size_t end) {
        alignas(64) std::array<float, ROOM> light, change, colour;
        light.fill(1), change.fill(0), colour.fill(1);  // what is past the end of a row must not trap
        for (std::size_t y = begin; y < end; ++y)
            for (std::size_t x = 0; x < photo.width; x += PIECE) {
                const std::size_t count = std::min(PIECE, photo.width - x), values = count * channels;
                light_of(photo, table, y, x * channels, values, light.data());
                gains.piece(y, x, count, change.data());
                if (channels == 3) {
                    colours.piece(y, x, count, colour.data());
                    HWY_DYNAMIC_DISPATCH(colour_pixels)(count, light.data(), change.data(), colour.data(), whole);
                } else {
                    HWY_DYNAMIC_DISPATCH(grey_pixels)(count, light.data(), change.data(), whole);
                }
                store(light.data(), values, result, y, x * channels);
            }
    });
}

}  // namespace shadowdiffusion
#endif
