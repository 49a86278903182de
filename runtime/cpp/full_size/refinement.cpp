#include "full_size/refinement.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "full_size/refinement.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "full_size/illumination.h"
#include "light-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// sqrt(linear light + FLOOR), in place: the networks saw the photo reduced in its own encoding, a square root is near.
void roots(std::size_t count, float* photo) {
    map(
        count, photo, [](Vector v) HWY_ATTR { return hn::Sqrt(hn::Add(linear_of(v), all(FLOOR))); },
        static_cast<const float*>(photo));
}

// root exp(fine / 2): the square root of the light with that gain.
void brightened(std::size_t count, const float* root, const float* fine, float* out) {
    const auto of = [](Vector r, Vector f) HWY_ATTR { return hn::Mul(r, hn::Exp(Floats(), hn::Mul(f, all(0.5f)))); };
    map(count, out, of, root, fine);
}

// 2 log(reached), in place.
void log_lights(std::size_t count, float* root) {
    map(
        count, root, [](Vector v) HWY_ATTR { return hn::Mul(all(2), hn::Log(Floats(), v)); },
        static_cast<const float*>(root));
}

// gain - (reached - before), into reached.
void missing_gain(std::size_t count, const float* gain, const float* before, float* reached) {
    const auto of = [](Vector r, Vector g, Vector b) HWY_ATTR { return hn::Sub(g, hn::Sub(r, b)); };
    map(count, reached, of, static_cast<const float*>(reached), gain, before);
}

// fine + step missing, between least and most, into fine.
void corrected(std::size_t count, float step, const float* missing, const float* least, const float* most, float* fine) {
    const auto of = [&](Vector f, Vector m, Vector low, Vector high) HWY_ATTR {
        return hn::Min(hn::Max(hn::MulAdd(all(step), m, f), low), high);
    };
    map(count, fine, of, static_cast<const float*>(fine), missing, least, most);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <cmath>

#include "full_size/resizing.h"

namespace shadowdiffusion {

namespace {

HWY_EXPORT(roots);
HWY_EXPORT(brightened);
HWY_EXPORT(log_lights);
HWY_EXPORT(missing_gain);
HWY_EXPORT(corrected);

constexpr double WORTHWHILE = 2;  // below this reduction, the gain has nearly the photo's own resolution
constexpr double FINEST = 4;      // the fine grid is at most so many times the working size
constexpr int ROUNDS = 4;
constexpr float STEP = 1.8f;
constexpr std::size_t GRAIN = 1 << 13;  // values

// The least (or most) of 3x3 positions.
template <class Of>
void neighbourhood(ConstField field, Field out, const Of& of) {
    const std::size_t channels = field.channels;
    for (std::size_t y = 0; y < field.height; ++y)
        for (std::size_t x = 0; x < field.width; ++x)
            for (std::size_t c = 0; c < channels; ++c) {
                float found = field.row(y)[x * channels + c];
                for (std::size_t v = y - (y > 0); v <= std::min(y + 1, field.height - 1); ++v)
                    for (std::size_t u = x - (x > 0); u <= std::min(x + 1, field.width - 1); ++u)
                        found = of(found, field.row(v)[u * channels + c]);
                out.row(y)[x * channels + c] = found;
            }
}

}  // namespace

ConstField refined(const ImageView& photo, ConstField gain, Arena& arena, Workers& workers) {
    const std::size_t side = std::max(gain.height, gain.width), channels = gain.channels;
    const double factor = static_cast<double>(std::max(photo.height, photo.width)) / static_cast<double>(side);
    if (factor < WORTHWHILE) return gain;
    const auto field = [&](Size size) {
        return Field{arena.take<float>(size.first * size.second * channels), size.first, size.second, channels};
    };
    const double long_side = std::nearbyint(static_cast<double>(side) * std::min(factor, FINEST));
    const Size small = {gain.height, gain.width};
    const Size large = reduced_size({photo.height, photo.width}, static_cast<std::size_t>(long_side));
    const Field fine = field(large);
    const Arena::Scope scope(arena);
    const Field root = field(large), bright = field(large), least = field(large), most = field(large);
    const Field before = field(small), reached = field(small);
    const std::size_t count = fine.values.size(), few = gain.values.size();

    reduced(photo, root, arena, workers);
    workers.over(count, GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(roots)(end - begin, &root.values[begin]);
    });
    reduced_to(root, before, arena, workers);
    HWY_DYNAMIC_DISPATCH(log_lights)(few, before.values.data());
    neighbourhood(gain, reached, [](float a, float b) { return std::min(a, b); });
    enlarged(reached, least, arena, workers);
    neighbourhood(gain, reached, [](float a, float b) { return std::max(a, b); });
    enlarged(reached, most, arena, workers);
    enlarged(gain, fine, arena, workers);
    for (int round = 0; round < ROUNDS; ++round) {
        workers.over(count, GRAIN, [&](std::size_t begin, std::size_t end) {
            HWY_DYNAMIC_DISPATCH(brightened)
            (end - begin, &root.values[begin], &fine.values[begin], &bright.values[begin]);
        });
        reduced_to(bright, reached, arena, workers);
        HWY_DYNAMIC_DISPATCH(log_lights)(few, reached.values.data());
        HWY_DYNAMIC_DISPATCH(missing_gain)(few, gain.values.data(), before.values.data(), reached.values.data());
        enlarged(reached, bright, arena, workers);
        workers.over(count, GRAIN, [&](std::size_t begin, std::size_t end) {
            HWY_DYNAMIC_DISPATCH(corrected)
            (end - begin, STEP, &bright.values[begin], &least.values[begin], &most.values[begin], &fine.values[begin]);
        });
    }
    return fine;
}

}  // namespace shadowdiffusion
#endif
