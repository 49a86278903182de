// Element by element over arrays of floats, as many at once as the machine has lanes. Included once per target of
// Highway, between HWY_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE of its includer's target.
#if defined(SHADOWDIFFUSION_LANES_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_LANES_INL_H
#undef SHADOWDIFFUSION_LANES_INL_H
#else
#define SHADOWDIFFUSION_LANES_INL_H
#endif

#include <algorithm>
#include <cstddef>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;

// out[i] = of(in[i]...) for i < count. `of` takes and returns vectors. `out` may be one of the inputs.
template <class Of, class... Inputs>
HWY_INLINE void map(std::size_t count, float* out, const Of& of, const Inputs*... in) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t i = 0;
    for (; i + lanes <= count; i += lanes) hn::StoreU(of(hn::LoadU(d, in + i)...), d, out + i);
    if (i == count) return;
    HWY_ALIGN float rest[hn::MaxLanes(d)];
    const auto loaded = [&](const float* from) HWY_ATTR {  // as the loop above, without reading past the end
        std::fill(rest, rest + lanes, 1.0f);
        std::copy(from + i, from + count, rest);
        return hn::Load(d, rest);
    };
    const Vector result = of(loaded(in)...);
    hn::Store(result, d, rest);
    std::copy(rest, rest + (count - i), out + i);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
