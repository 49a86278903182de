#include "cpu/light.h"

#include <array>

#include "cpu/planes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/light.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "light-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

void around_zero(const float* from, std::size_t count, float* to) {
    map(count, to, [](Vector value) HWY_ATTR { return hn::Sub(value, all(0.5f)); }, from);
}

void log_light(const float* from, std::size_t count, float* to) {
    const auto of = [](Vector value) HWY_ATTR {
        const Vector light = hn::Add(linear_of(value), all(0.01f));
        return hn::MulAdd(hn::Log(Floats(), light), all(1 / 4.6f), all(0.5f));
    };
    map(count, to, of, from);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(around_zero);
HWY_EXPORT(log_light);

namespace {

constexpr std::size_t PLANES = 7;

}  // namespace

std::size_t light_scratch(std::size_t patch, const Channels& to) { return PLANES * patch * patch * to.width; }

void light_row(std::span<const float* const, 3> image, const float* mask, std::size_t patch, const Channels& to, std::size_t y,
               float* scratch) {
    const std::size_t count = patch * patch * to.width, begin = y * count;  // of the rows of the photo that it takes
    std::array<const float*, PLANES> planes;
    for (std::size_t i = 0; i < PLANES; ++i) {
        float* plane = scratch + i * count;
        planes[i] = plane;
        if (i < 3)
            HWY_DYNAMIC_DISPATCH(around_zero)(image[i] + begin, count, plane);
        else if (i < 6)
            HWY_DYNAMIC_DISPATCH(log_light)(image[i - 3] + begin, count, plane);
        else
            HWY_DYNAMIC_DISPATCH(around_zero)(mask + begin, count, plane);
    }
    Channels row = to;  // whose first row is the one to be written
    row.data += y * to.width * LANES;
    gather_row(planes, patch, row, 0);
}

}  // namespace shadowdiffusion
#endif
