// Winograd's F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.3):
// a tile of 4x4 outputs is Y = A^T [(G w G^T) * (B^T X B)] A of its 6x6 inputs X, with 36 products of channels for 144.
//
// A block is up to 48 tiles: its inputs are normalised and activated into a small buffer, transformed from there, multiplied
// panel by panel, and transformed back while still in the cache. Nothing else passes through memory.
#include "cpu/convolution.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/winograd.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "cpu/activation-inl.h"
#include "cpu/epilogue-inl.h"
#include "cpu/multiply-inl.h"
#include "lanes-inl.h"

#ifndef SHADOWDIFFUSION_WINOGRAD_ONCE
#define SHADOWDIFFUSION_WINOGRAD_ONCE
namespace shadowdiffusion {

inline constexpr std::size_t TILE = 4, SIDE = 6, POINTS = 36, MOST_TILES = 48, PANELS_AT_ONCE = 2;

inline std::size_t ratio_up(std::size_t a, std::size_t b) { return (a + b - 1) / b; }

// A map in tiles, and the tiles in blocks of `rows` x `columns`, fewer at the ends.
struct Tiling {
    explicit Tiling(const Channels& out) : height(ratio_up(out.height, TILE)), width(ratio_up(out.width, TILE)) {
        columns = ratio_up(width, ratio_up(width, 8));
        rows = ratio_up(height, ratio_up(height, MOST_TILES / columns));
    }
    std::size_t blocks() const { return ratio_up(height, rows) * ratio_up(width, columns); }
    std::size_t height, width, rows, columns;
};

// Parts of the scratch memory of a block, each a multiple of 16 floats. What is read or written side by side is apart by no
// multiple of a page: else it would share few lines of the cache.
struct Parts {
    explicit Parts(const Convolution& of) {
        const Tiling tiling(of.out);
        const std::size_t tiles = tiling.rows * tiling.columns, pixels = (TILE * tiling.columns + 2) * LANES;
        row = of.in.channels + LANES;
        input = tiles * row + LANES;
        product = tiles * PANEL + LANES;
        columns = (TILE * tiling.rows + 2) * pixels;
        inputs = columns + SIDE * pixels;
        products = inputs + POINTS * input;
        all = products + PANELS_AT_ONCE * POINTS * product;
    }
    std::size_t row, input, product;             // floats from one tile, and from one of the 36 points, to the next
    std::size_t columns, inputs, products, all;  // where they begin, after the pixels
};

}  // namespace shadowdiffusion
#endif

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// y = B^T x.
HWY_INLINE void transform_in(const float* x, std::size_t stride, Vector (&y)[SIDE]) {
    const Floats d;
    const auto at = [&](std::size_t i) HWY_ATTR { return hn::Load(d, x + i * stride); };
    const Vector two = hn::Set(d, 2), four = hn::Set(d, 4), five = hn::Set(d, 5);
    const Vector x1 = at(1), x2 = at(2), x3 = at(3), x4 = at(4);
    const Vector a = hn::NegMulAdd(four, x2, x4), b = hn::NegMulAdd(four, x1, x3);
    const Vector c = hn::Sub(x4, x2), e = hn::Mul(two, hn::Sub(x3, x1));
    y[0] = hn::MulAdd(four, at(0), hn::NegMulAdd(five, x2, x4));
    y[1] = hn::Add(a, b);
    y[2] = hn::Sub(a, b);
    y[3] = hn::Add(c, e);
    y[4] = hn::Sub(c, e);
    y[5] = hn::MulAdd(four, x1, hn::NegMulAdd(five, x3, at(5)));
}

// y = A^T m.
HWY_INLINE void transform_out(const float* m, std::size_t stride, Vector (&y)[TILE]) {
    const Floats d;
    const auto at = [&](std::size_t i) HWY_ATTR { return hn::Load(d, m + i * stride); };
    const Vector two = hn::Set(d, 2), four = hn::Set(d, 4), eight = hn::Set(d, 8);
    const Vector m1 = at(1), m2 = at(2), m3 = at(3), m4 = at(4);
    const Vector s = hn::Add(m1, m2), t = hn::Sub(m1, m2), u = hn::Add(m3, m4), v = hn::Sub(m3, m4);
    y[0] = hn::Add(hn::Add(at(0), s), u);
    y[1] = hn::MulAdd(two, v, t);
    y[2] = hn::MulAdd(four, u, s);
    y[3] = hn::Add(hn::MulAdd(eight, v, t), at(5));
}

// Where a block lies: its first tile, and its size in tiles.
struct Block {
    Block(const Tiling& tiling, std::size_t index) {
        const std::size_t across = ratio_up(tiling.width, tiling.columns);
        top = index / across * tiling.rows, left = index % across * tiling.columns;
        rows = std::min(tiling.rows, tiling.height - top), columns = std::min(tiling.columns, tiling.width - left);
    }
    std::size_t tiles() const { return rows * columns; }
    std::size_t top, left, rows, columns;
};

// The inputs of a block for one vector of channels, normalised and activated, with zeros where the map has ended.
template <Activation A, bool SCALED>
HWY_NOINLINE void read_pixels(const Convolution& of, const Block& block, std::size_t channel, float* to) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), rows = TILE * block.rows + 2, columns = TILE * block.columns + 2;
    const std::size_t shift = of.doubled ? 1 : 0, height = of.in.height << shift, width = of.in.width << shift;
    const Vector scale = SCALED ? hn::Load(d, of.scale + channel) : hn::Zero(d);
    const Vector offset = SCALED ? hn::Load(d, of.shift + channel) : hn::Zero(d);
    const std::size_t left = TILE * block.left - 1;  // may wrap around, as y below
    const std::size_t begin = block.left == 0 ? 1 : 0, end = std::min(columns, width - left);
    for (std::size_t i = 0; i < rows; ++i, to += columns * lanes) {
        const std::size_t y = TILE * block.top + i - 1;
        if (y >= height) {
            std::fill(to, to + columns * lanes, 0.0f);
            continue;
        }
        const float* from = of.in.channel(channel) + (y >> shift) * of.in.width * LANES;
        const auto read = [&](std::size_t j) HWY_ATTR {
            Vector value = hn::Load(d, from + ((left + j) >> shift) * LANES);
            if (SCALED) value = hn::MulAdd(value, scale, offset);
            hn::Store(activated<A>(value), d, to + j * lanes);
        };
        std::fill(to, to + begin * lanes, 0.0f);
#pragma GCC unroll 2
        for (std::size_t j = begin; j < end; ++j) read(j);
        std::fill(to + end * lanes, to + columns * lanes, 0.0f);
    }
}

template <Activation A, bool SCALED>
HWY_NOINLINE void read_block(const Convolution& of, const Block& block, const Parts& parts, float* scratch) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d), across = (TILE * block.columns + 2) * lanes;
    float *columns = scratch + parts.columns, *inputs = scratch + parts.inputs;
    Vector y[SIDE];
    for (std::size_t channel = 0; channel < of.in.channels; channel += lanes) {
        read_pixels<A, SCALED>(of, block, channel, scratch);
        for (std::size_t row = 0; row < block.rows; ++row) {
            for (std::size_t x = 0; x < across; x += lanes) {
                transform_in(scratch + TILE * row * across + x, across, y);
                for (std::size_t i = 0; i < SIDE; ++i) hn::Store(y[i], d, columns + i * across + x);
            }
            for (std::size_t column = 0; column < block.columns; ++column) {
                float* to = inputs + (row * block.columns + column) * parts.row + channel;
                for (std::size_t i = 0; i < SIDE; ++i) {
                    transform_in(columns + i * across + TILE * column * lanes, lanes, y);
                    for (std::size_t j = 0; j < SIDE; ++j) hn::Store(y[j], d, to + (SIDE * i + j) * parts.input);
                }
            }
        }
    }
}

template <Activation A>
HWY_INLINE void read_block(const Convolution& of, const Block& block, const Parts& parts, float* scratch) {
    if (of.scale)
        read_block<A, true>(of, block, parts, scratch);
    else
        read_block<A, false>(of, block, parts, scratch);
}

// products [36, tiles, PANEL] of the channels [first, first + count), points `point` floats apart -> outputs.
HWY_NOINLINE void write_block(const Convolution& of, const Block& block, std::size_t first, std::size_t count,
                            const float* products, std::size_t point, double* sums) {
    const Floats d;
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float half[TILE * SIDE * hn::MaxLanes(d)];
    Vector y[TILE];
    for (std::size_t k = 0; k < count; k += lanes) {
        Epilogue epilogue(of, first + k);
        for (std::size_t row = 0; row < block.rows; ++row) {
            const std::size_t top = TILE * (block.top + row), bottom = std::min(top + TILE, of.out.height);
            for (std::size_t column = 0; column < block.columns; ++column) {
                const float* tile = products + (row * block.columns + column) * PANEL + k;
                for (std::size_t j = 0; j < SIDE; ++j) {
                    transform_out(tile + j * point, SIDE * point, y);
                    for (std::size_t i = 0; i < TILE; ++i) hn::Store(y[i], d, half + (i * SIDE + j) * lanes);
                }
                const std::size_t left = TILE * (block.left + column), right = std::min(left + TILE, of.out.width);
                for (std::size_t i = top; i < bottom; ++i) {
                    transform_out(half + (i - top) * SIDE * lanes, lanes, y);
                    const std::size_t pixel = i * of.out.width + left;
                    for (std::size_t j = 0; j < right - left; ++j) epilogue.store(y[j], pixel + j);
                }
            }
            epilogue.add_to(sums);
        }
    }
}

void winograd(const Convolution& of, std::size_t index, std::size_t first, std::size_t last, float* scratch) {
    const Parts parts(of);
    const Block block(Tiling(of.out), index);
    switch (of.activation) {
        case Activation::none: read_block<Activation::none>(of, block, parts, scratch); break;
        case Activation::relu: read_block<Activation::relu>(of, block, parts, scratch); break;
        case Activation::silu: read_block<Activation::silu>(of, block, parts, scratch); break;
    }
    const std::size_t tiles = block.tiles(), panel = POINTS * of.in.channels * PANEL, made = POINTS * parts.product;
    float* products = scratch + parts.products;
    double* sums = sums_of(of, index, first, last);
    const auto columns = [&](std::size_t k) { return std::min(PANEL, last - k); };
    for (std::size_t k = first; k < last; k += PANELS_AT_ONCE * PANEL) {
        const std::size_t end = std::min(last, k + PANELS_AT_ONCE * PANEL);
        for (std::size_t point = 0; point < POINTS; ++point) {  // whose inputs stay in the cache for the second panel
            const float* inputs = scratch + parts.inputs + point * parts.input;
            for (std::size_t at = k; at < end; at += PANEL)
                multiply(tiles, of.in.channels, columns(at), inputs, parts.row,
                         of.panels + at / PANEL * panel + point * of.in.channels * PANEL,
                         products + (at - k) / PANEL * made + point * parts.product, PANEL);
        }
        for (std::size_t at = k; at < end; at += PANEL)
            write_block(of, block, at, columns(at), products + (at - k) / PANEL * made, parts.product, sums);
    }
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(winograd);

namespace {

constexpr std::size_t FEWEST_TILES = 12;

}  // namespace

bool suits_winograd(const Convolution& of) {
    const Tiling tiling(of.out);
    return of.kernel == 3 && of.step == 1 && tiling.height * tiling.width >= FEWEST_TILES;
}

const Way WINOGRAD = {
    [](const Convolution& of) { return Tiling(of.out).blocks(); },
    [](const Convolution& of) { return Parts(of).all; },
    [](const Convolution& of, std::size_t block, std::size_t first, std::size_t last, float* scratch) {
        HWY_DYNAMIC_DISPATCH(winograd)(of, block, first, last, scratch);
    },
};

}  // namespace shadowdiffusion
#endif
