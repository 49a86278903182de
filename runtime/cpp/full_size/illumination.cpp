#include "full_size/illumination.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "full_size/illumination.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "light-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

void linear_values(std::size_t count, const float* encoded, float* out) {
    map(
        count, out, [](Vector v) HWY_ATTR { return linear_of(v); }, encoded);
}

void encoded_values(std::size_t count, const float* linear, float* out) {
    map(
        count, out, [](Vector v) HWY_ATTR { return encoded_of(v); }, linear);
}

void gain_values(std::size_t count, const float* degraded, const float* restored, float* gain) {
    const auto change = [](Vector before, Vector after) HWY_ATTR {
        const Vector above = hn::Add(linear_of(after), all(FLOOR)), below = hn::Add(linear_of(before), all(FLOOR));
        const Vector log = hn::Log(Floats(), hn::Div(above, below));
        return hn::Min(hn::Max(log, all(LOWEST)), all(HIGHEST));
    };
    map(count, gain, change, degraded, restored);
}

void inverse_values(std::size_t count, const float* gain, float* out) {
    map(
        count, out, [](Vector v) HWY_ATTR { return hn::Exp(Floats(), hn::Neg(v)); }, gain);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace shadowdiffusion {

namespace {

HWY_EXPORT(linear_values);
HWY_EXPORT(encoded_values);
HWY_EXPORT(gain_values);
HWY_EXPORT(inverse_values);

constexpr std::size_t GRAIN = 1 << 13;  // values

}  // namespace

void to_linear(std::span<const float> encoded, std::span<float> out) {
    HWY_DYNAMIC_DISPATCH(linear_values)(out.size(), encoded.data(), out.data());
}

void to_encoded(std::span<const float> linear, std::span<float> out) {
    HWY_DYNAMIC_DISPATCH(encoded_values)(out.size(), linear.data(), out.data());
}

void log_gain(ConstField degraded, ConstField restored, Field gain, Workers& workers) {
    workers.over(gain.values.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(gain_values)
        (end - begin, &degraded.values[begin], &restored.values[begin], &gain.values[begin]);
    });
}

void inverse_gain(ConstField gain, std::span<float> out, Workers& workers) {
    workers.over(out.size(), GRAIN, [&](std::size_t begin, std::size_t end) {
        HWY_DYNAMIC_DISPATCH(inverse_values)(end - begin, &gain.values[begin], &out[begin]);
    });
}

}  // namespace shadowdiffusion
#endif
