#include "loop/prior_update.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "loop/prior_update.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

HWY_INLINE Vector all(float value) { return hn::Set(Floats(), value); }

HWY_INLINE Vector between(Vector v, float low, float high) { return hn::Min(hn::Max(v, all(low)), all(high)); }

void illumination_of(std::size_t count, const float* y, const float* clean, float added, float epsilon, float floor,
                     float ceiling, float* h) {
    const auto quotient = [&](Vector above, Vector below) HWY_ATTR {
        return between(hn::Div(hn::Add(above, all(added)), hn::Add(below, all(epsilon))), floor, ceiling);
    };
    map(count, h, quotient, y, clean);
}

void updated(std::size_t count, float* x, const float* e, const float* y, const float* h, const float* fresh,
             const StepScales& s) {
    const Vector one = all(1), two = all(2), rho = all(s.rho), next = all(s.next), direction = all(s.direction);
    const auto estimate = [&](Vector state, Vector noise) HWY_ATTR {
        const Vector z = hn::Div(hn::NegMulAdd(noise, all(s.noise_scale), state), all(s.signal_scale));
        return s.clamp ? between(z, -1, 1) : z;
    };
    const auto tied = [&](Vector z, Vector photo, Vector light) HWY_ATTR {
        const Vector square = hn::Mul(light, light);
        const Vector scale = hn::Div(one, hn::Add(square, rho));
        const Vector a = hn::Mul(hn::Sub(hn::Mul(hn::Mul(two, light), photo), square), scale);
        return hn::MulAdd(z, hn::Mul(scale, rho), a);
    };
    const auto clean = [&](Vector state, Vector noise, Vector photo, Vector light) HWY_ATTR {
        const Vector z = estimate(state, noise);
        return s.consistent ? tied(z, photo, light) : z;
    };
    const auto step = [&](Vector state, Vector noise, Vector photo, Vector light) HWY_ATTR {
        return hn::MulAdd(direction, noise, hn::Mul(next, clean(state, noise, photo, light)));
    };
    const auto random = [&](Vector state, Vector noise, Vector photo, Vector light, Vector drawn) HWY_ATTR {
        return hn::MulAdd(all(s.sigma), drawn, step(state, noise, photo, light));
    };
    if (s.last)
        map(count, x, clean, static_cast<const float*>(x), e, y, h);
    else if (fresh == nullptr)
        map(count, x, step, static_cast<const float*>(x), e, y, h);
    else
        map(count, x, random, static_cast<const float*>(x), e, y, h, fresh);
}

void started(std::size_t count, float* noise, const float* clean, float noise_scale, float signal_scale) {
    const auto mixed = [&](Vector n, Vector c) HWY_ATTR {
        const Vector image = hn::Sub(hn::Add(c, c), all(1));
        return hn::MulAdd(all(noise_scale), n, hn::Mul(all(signal_scale), image));
    };
    map(count, noise, mixed, static_cast<const float*>(noise), clean);
}

void signed_of(std::size_t count, const float* y, float* out) {
    map(
        count, out, [](Vector v) HWY_ATTR { return hn::Sub(hn::Add(v, v), all(1)); }, y);
}

void unit_of(std::size_t count, float* x) {
    map(
        count, x, [](Vector v) HWY_ATTR { return between(hn::Mul(hn::Add(v, all(1)), all(0.5f)), 0, 1); },
        static_cast<const float*>(x));
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <array>

namespace shadowdiffusion {

namespace {

HWY_EXPORT(illumination_of);
HWY_EXPORT(updated);
HWY_EXPORT(started);
HWY_EXPORT(signed_of);
HWY_EXPORT(unit_of);

constexpr std::size_t GRAIN = 1 << 14;  // values: what stays in a core's cache

}  // namespace

void illumination(ConstPlanes y, ConstPlanes clean, const Illumination& limits, Planes h, Workers& workers) {
    const auto added = static_cast<float>(limits.photo_epsilon), epsilon = static_cast<float>(limits.epsilon),
               floor = static_cast<float>(limits.floor), ceiling = static_cast<float>(limits.ceiling);
    workers.over(h.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(illumination_of)
        (end - begin, &y.values[begin], &clean.values[begin], added, epsilon, floor, ceiling, &h.values[begin]);
    });
}

void confident_mask(ConstPlanes matte, double threshold, Planes mask) {
    const auto least = static_cast<float>(threshold);
    std::ranges::transform(matte.values, mask.values.begin(), [=](float v) { return v >= least ? 1.0f : 0.0f; });
}

void closed_form_mask(ConstPlanes h, ConstPlanes mask, double rho, Planes predicted, Workers& workers) {
    std::array<double, 3> depth{};  // 1 - w
    std::size_t count = 0;
    for (std::size_t i = 0; i < mask.area(); ++i) {
        if (!(mask.values[i] >= CONFIDENT)) continue;
        ++count;
        for (std::size_t c = 0; c < 3; ++c) depth[c] += 1.0 - double{h.plane(c)[i]};
    }
    double squares = rho;
    std::array<float, 3> depths{};
    for (std::size_t c = 0; c < 3; ++c) {
        depth[c] /= static_cast<double>(std::max<std::size_t>(count, 1));
        squares += depth[c] * depth[c];
        depths[c] = static_cast<float>(depth[c]);
    }
    const auto weight = static_cast<float>(rho), below = static_cast<float>(squares);
    workers.over(predicted.area(), GRAIN, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            float above = weight * predicted.values[i];
            for (std::size_t c = 0; c < 3; ++c) above += depths[c] * (1 - h.plane(c)[i]);
            predicted.values[i] = std::clamp(above / below, 0.0f, 1.0f);
        }
    });
}

void update_state(Planes x, ConstPlanes e, ConstPlanes y, ConstPlanes h, ConstPlanes fresh, const StepScales& scales,
                  Workers& workers) {
    workers.over(x.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        const float* drawn = fresh.absent() ? nullptr : &fresh.values[begin];
        HWY_DYNAMIC_DISPATCH(updated)
        (end - begin, &x.values[begin], &e.values[begin], &y.values[begin], &h.values[begin], drawn, scales);
    });
}

void start_state(Planes noise, ConstPlanes clean, float noise_scale, float signal_scale, Workers& workers) {
    workers.over(noise.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(started)
        (end - begin, &noise.values[begin], &clean.values[begin], noise_scale, signal_scale);
    });
}

void to_signed(ConstPlanes y, Planes out, Workers& workers) {
    workers.over(y.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(signed_of)(end - begin, &y.values[begin], &out.values[begin]);
    });
}

void to_unit(Planes x, Workers& workers) {
    workers.over(x.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(unit_of)(end - begin, &x.values[begin]);
    });
}

}  // namespace shadowdiffusion
#endif
