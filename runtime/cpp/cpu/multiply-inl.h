// Products of matrices, a panel of columns at a time. Included once per target of Highway.
#if defined(SHADOWDIFFUSION_MULTIPLY_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHADOWDIFFUSION_MULTIPLY_INL_H
#undef SHADOWDIFFUSION_MULTIPLY_INL_H
#else
#define SHADOWDIFFUSION_MULTIPLY_INL_H
#endif

#include <cstddef>

#include <hwy/highway.h>

#include "cpu/panels.h"
#include "lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// Rows and vectors whose sums fit into the registers, with a row of the panel.
#if HWY_TARGET <= HWY_AVX3
inline constexpr std::size_t MOST_ROWS = 14;
#elif HWY_TARGET == HWY_AVX2 || HWY_ARCH_ARM
inline constexpr std::size_t MOST_ROWS = 6;
#else
inline constexpr std::size_t MOST_ROWS = 4;
#endif

// What follows a panel in memory is wanted next, and is fetched meanwhile: from `at` on, `step` floats for each row of the panel.
struct Ahead {
    const float* at;
    std::size_t step;
};

// out[R, V vectors] = a[R, inner] panel[inner, V vectors], rows of `a` `stride` values apart. Sums run over `inner` in order,
// whatever R is.
template <std::size_t R, std::size_t V>
HWY_NOINLINE void multiply_rows(std::size_t inner, const float* HWY_RESTRICT a, std::size_t stride,
                                const float* HWY_RESTRICT panel, float* HWY_RESTRICT out, std::size_t out_stride, Ahead ahead) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    Vector sums[R][V];
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (std::size_t v = 0; v < V; ++v) sums[r][v] = hn::Zero(d);
    for (std::size_t c = 0; c < inner; ++c) {
        __builtin_prefetch(ahead.at, 0, 2);
        ahead.at += ahead.step;
        Vector row[V];
#pragma GCC unroll 4
        for (std::size_t v = 0; v < V; ++v) row[v] = hn::Load(d, panel + c * PANEL + v * lanes);
#pragma GCC unroll 16
        for (std::size_t r = 0; r < R; ++r) {
            const Vector value = hn::Set(d, a[r * stride + c]);
#pragma GCC unroll 4
            for (std::size_t v = 0; v < V; ++v) sums[r][v] = hn::MulAdd(value, row[v], sums[r][v]);
        }
    }
#pragma GCC unroll 16
    for (std::size_t r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (std::size_t v = 0; v < V; ++v) hn::Store(sums[r][v], d, out + r * out_stride + v * lanes);
}

template <std::size_t R, std::size_t V>
HWY_INLINE void multiply_few(std::size_t rows, std::size_t inner, const float* a, std::size_t stride, const float* panel,
                             float* out, std::size_t out_stride, Ahead ahead) {
    if (rows == R)
        multiply_rows<R, V>(inner, a, stride, panel, out, out_stride, ahead);
    else if constexpr (R > 1)
        multiply_few<R - 1, V>(rows, inner, a, stride, panel, out, out_stride, ahead);
}

// out[rows, columns] = a[rows, inner] panel[inner, PANEL], the first `columns` (a multiple of 16) of it. All but `a` are
// aligned to 64 bytes, `out_stride` is a multiple of 16.
HWY_INLINE void multiply(std::size_t rows, std::size_t inner, std::size_t columns, const float* a, std::size_t stride,
                         const float* panel, float* out, std::size_t out_stride) {
    const std::size_t lanes = hn::Lanes(Floats()), parts = (rows + MOST_ROWS - 1) / MOST_ROWS;
    for (std::size_t first = 0, part = 0; part < parts; ++part) {
        const std::size_t count = (rows - first + parts - part - 1) / (parts - part);
        const float* from = a + first * stride;
        float* to = out + first * out_stride;
        const Ahead ahead{panel + inner * PANEL + part * inner * (PANEL / parts), PANEL / parts};
        std::size_t column = 0;
        for (; column + 2 * lanes <= columns; column += 2 * lanes)
            multiply_few<MOST_ROWS, 2>(count, inner, from, stride, panel + column, to + column, out_stride, ahead);
        for (; column < columns; column += lanes)
            multiply_few<MOST_ROWS, 1>(count, inner, from, stride, panel + column, to + column, out_stride, ahead);
        first += count;
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
