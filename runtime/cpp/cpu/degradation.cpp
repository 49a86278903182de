#include "cpu/degradation.h"

#include <algorithm>
#include <cmath>

#include "cpu/border_calibration.h"
#include "cpu/cells.h"
#include "cpu/matte_level.h"
#include "cpu/planes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/degradation.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

#include "light-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

// Highway's e^x is right up to 104; beyond 80, one over it is nothing beside what there is of shadow.
HWY_INLINE Vector logistic(Vector x) {
    return hn::Div(all(1), hn::Add(all(1), hn::Exp(Floats(), hn::Min(all(80), hn::Neg(x)))));
}

void matte_row(const float* logits, float shift, float most, float least, std::size_t width, float* to) {
    const auto of = [&](Vector x) HWY_ATTR { return logistic(hn::Max(hn::Add(hn::Min(x, all(most)), all(shift)), all(least))); };
    map(width, to, of, logits);
}

void linear_row(const float* image, std::size_t width, float* to) {
    map(width, to, [](Vector value) HWY_ATTR { return linear_of(value); }, image);
}

// What lies under the veil.
void light_below(const float* linear, const float* veil, std::size_t width, float* to) {
    map(width, to, [](Vector light, Vector v) HWY_ATTR { return hn::Max(hn::Sub(light, v), all(0)); }, linear, veil);
}

void shade_row(const float* log_weight, const float* matte, std::size_t width, float* to) {
    const auto of = [](Vector w, Vector m) HWY_ATTR {
        return hn::NegMulAdd(hn::Sub(all(1), hn::Exp(Floats(), w)), m, all(1));
    };
    map(width, to, of, log_weight, matte);
}

void log_row(const float* shade, std::size_t width, float* to) {
    map(width, to, [](Vector h) HWY_ATTR { return hn::Log(Floats(), h); }, shade);
}

// h to the power of `exponent`, by its logarithm.
void power_row(const float* log_shade, float exponent, std::size_t width, float* to) {
    map(width, to, [&](Vector h) HWY_ATTR { return hn::Exp(Floats(), hn::Mul(h, all(exponent))); }, log_shade);
}

void clean_row(const float* linear, const float* below, const float* shade, std::size_t width, float* to) {
    const auto of = [](Vector light, Vector under, Vector h) HWY_ATTR {
        const Vector restored = hn::Add(hn::Div(under, h), hn::Sub(light, under));
        return encoded_of(hn::Min(hn::Max(restored, all(0)), all(1)));
    };
    map(width, to, of, linear, below, shade);
}

void add_rows(const float* one, const float* other, float factor, std::size_t width, float* to) {
    map(width, to, [&](Vector a, Vector b) HWY_ATTR { return hn::Mul(hn::Add(a, b), all(factor)); }, one, other);
}

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(matte_row);
HWY_EXPORT(linear_row);
HWY_EXPORT(light_below);
HWY_EXPORT(shade_row);
HWY_EXPORT(log_row);
HWY_EXPORT(power_row);
HWY_EXPORT(clean_row);
HWY_EXPORT(add_rows);

namespace {

constexpr std::size_t COLOURS = 3;

// Fields of the network at its own resolution, and how they are enlarged, bilinearly.
struct Coarse {
    explicit Coarse(const Degradation& of) : height(of.weight.height), width(of.weight.width), times(of.height / of.weight.height) {}
    std::size_t values() const { return COLOURS * height * width; }

    // Row `y` of the photo of a plane; `row`: memory for `width` floats.
    void enlarge(const float* plane, std::size_t y, float* row, float* to) const {
        const float position = (static_cast<float>(y) + 0.5f) / static_cast<float>(times) - 0.5f, above = std::floor(position);
        const auto at = [&](float index) {
            return plane + static_cast<std::size_t>(std::clamp(index, 0.0f, static_cast<float>(height - 1))) * width;
        };
        const float *one = at(above), *other = at(above + 1), share = position - above;
        for (std::size_t x = 0; x < width; ++x) row[x] = one[x] + (other[x] - one[x]) * share;
        std::fill_n(to, times / 2, row[0]);
        to += times / 2;
        for (std::size_t x = 0; x + 1 < width; ++x, to += times) {
            const float step = (row[x + 1] - row[x]) / static_cast<float>(times);
            for (std::size_t i = 0; i < times; ++i) to[i] = row[x] + step * (static_cast<float>(i) + 0.5f);
        }
        std::fill_n(to, times - times / 2, row[width - 1]);
    }

    std::size_t height, width, times;
};

// Divides memory into parts that are aligned to 64 bytes; without memory it only adds them up.
class Division {
  public:
    explicit Division(float* begin) : begin_(begin) {}
    float* of(std::size_t values) {
        float* const made = begin_ ? begin_ + size_ : nullptr;
        size_ += aligned(values);
        return made;
    }
    std::size_t size() const { return size_; }
    static std::size_t aligned(std::size_t values) { return (values + LANES - 1) / LANES * LANES; }

  private:
    float* begin_;
    std::size_t size_ = 0;
};

// The memory for a photo.
struct Memory {
    Memory(const Degradation& of, float* begin)
        : coarse(of), area(of.height * of.width), cells(of.height / CELL * (of.width / CELL)), parts(begin),
          weight(parts.of(coarse.values())), veil(parts.of(coarse.values())), logits(parts.of(area)) {
        if (!of.trust) return;
        linear = parts.of(COLOURS * area), log_shade = parts.of(COLOURS * area);
        border = parts.of(BORDER_PLANES * cells), levels = parts.of(LEVEL_PLANES * cells);
    }

    Coarse coarse;
    std::size_t area, cells;
    Division parts;
    float *weight, *veil, *logits;
    float *linear = nullptr, *log_shade = nullptr, *border = nullptr, *levels = nullptr;
};

// A piece of scratch memory for some rows of a photo.
struct Rows {
    Rows(const Degradation& of, float* begin)
        : half(Division::aligned(of.width / 2)), parts(begin), coarse(parts.of(of.weight.width)), log_weight(parts.of(of.width)),
          veil(parts.of(of.width)), matte(parts.of(of.width)), both(parts.of(of.width)), below(parts.of(COLOURS * of.width)),
          shade(parts.of(COLOURS * of.width)), border(parts.of(BORDER_PLANES * of.width)), smaller(parts.of((1 + COLOURS) * half)),
          levels(parts.of(LEVEL_PLANES * half)) {}

    std::size_t half;
    Division parts;
    float *coarse, *log_weight, *veil, *matte, *both, *below, *shade, *border, *smaller, *levels;
};

class Restoration {
  public:
    Restoration(const Degradation& of, float* memory, Workers& workers, Scratch& scratch)
        : of_(of), memory_(of, memory), workers_(workers), scratch_(scratch) {}

    void run() {
        read_fields();
        if (!of_.trust) {
            scratch_.over(of_.height, [&](std::size_t y, float* piece) { plain_row(y, Rows(of_, piece)); });
            return;
        }
        const std::size_t rows = of_.height / CELL, columns = of_.width / CELL;
        scratch_.over(rows, [&](std::size_t row, float* piece) { compare(row, Rows(of_, piece)); });
        const Window near_border(BORDER_SIGMA, BORDER_RADIUS), near_level(LEVEL_SIGMA, LEVEL_RADIUS);
        scratch_.over(BORDER_PLANES + LEVEL_PLANES, [&](std::size_t i, float* piece) {
            const bool border = i < BORDER_PLANES;
            float* plane = border ? memory_.border + i * memory_.cells : memory_.levels + (i - BORDER_PLANES) * memory_.cells;
            average(plane, rows, columns, border ? near_border : near_level, piece);
        });
        std::array<double, LEVELS> wrong = {};
        std::array<double, COLOURS> change = {};
        workers_.over(1 + LEVELS, 1, [&](std::size_t begin, std::size_t end) {
            for (std::size_t i = begin; i < end; ++i) {
                if (i == 0)
                    change = border_change(memory_.border, memory_.cells);
                else
                    wrong[i - 1] = inconsistency(memory_.levels, memory_.cells, i - 1);
            }
        });
        for (std::size_t c = 0; c < COLOURS; ++c)
            exponents_[c] = static_cast<float>(1 + static_cast<double>(of_.trust[c]) * change[c]);
        shift_ = static_cast<float>(std::log(MATTE_THRESHOLD / (1 - MATTE_THRESHOLD)) - level_of(wrong));
        scratch_.over(of_.height, [&](std::size_t y, float* piece) { calibrated_row(y, Rows(of_, piece)); });
    }

  private:
    // The smooth fields at their own size, and the matte at the photo's.
    void read_fields() {
        const std::size_t cells = memory_.coarse.height * memory_.coarse.width;
        for (std::size_t i = 0; i < cells; ++i)
            for (std::size_t c = 0; c < COLOURS; ++c) {
                const auto logistic = [&](const Channels& from) { return 1 / (1 + std::exp(-from.channel(c)[i * LANES])); };
                memory_.weight[c * cells + i] = of_.least + (of_.most - of_.least) * logistic(of_.weight);
                if (of_.veil.data) memory_.veil[c * cells + i] = of_.thickest * logistic(of_.veil);
            }
        float* const planes[] = {memory_.logits};
        workers_.over(of_.matte.height, 1, [&](std::size_t begin, std::size_t end) {
            for (std::size_t y = begin; y < end; ++y) scatter_row(of_.matte, of_.patch, false, planes, y);
        });
    }

    const float* coarse(const float* planes, std::size_t c) const { return planes + c * memory_.coarse.height * memory_.coarse.width; }

    // Light under the veil of row `y`.
    const float* below(std::size_t c, std::size_t y, const float* linear, const Rows& rows) const {
        if (!of_.veil.data) return linear;
        float* to = rows.below + c * of_.width;
        memory_.coarse.enlarge(coarse(memory_.veil, c), y, rows.coarse, rows.veil);
        HWY_DYNAMIC_DISPATCH(light_below)(linear, rows.veil, of_.width, to);
        return to;
    }

    const float* shade(std::size_t c, std::size_t y, const Rows& rows) const {
        float* to = rows.shade + c * of_.width;
        memory_.coarse.enlarge(coarse(memory_.weight, c), y, rows.coarse, rows.log_weight);
        HWY_DYNAMIC_DISPATCH(shade_row)(rows.log_weight, rows.matte, of_.width, to);
        return to;
    }

    void make_matte(std::size_t y, float shift, float most, float least, float* to) const {
        HWY_DYNAMIC_DISPATCH(matte_row)(memory_.logits + y * of_.width, shift, most, least, of_.width, to);
    }

    void make_clean(std::size_t c, std::size_t y, const float* linear, const float* below, const float* shade) const {
        HWY_DYNAMIC_DISPATCH(clean_row)(linear, below, shade, of_.width, of_.clean[c] + y * of_.width);
    }

    void plain_row(std::size_t y, const Rows& rows) const {
        make_matte(y, 0, INFINITY, -INFINITY, rows.matte);
        if (of_.shadow) std::copy_n(rows.matte, of_.width, of_.shadow + y * of_.width);
        if (!of_.clean[0]) return;
        for (std::size_t c = 0; c < COLOURS; ++c) {
            HWY_DYNAMIC_DISPATCH(linear_row)(of_.image[c] + y * of_.width, of_.width, rows.both);
            make_clean(c, y, rows.both, below(c, y, rows.both, rows), shade(c, y, rows));
        }
    }

    // What the border and the levels of the matte are compared by, for a row of cells.
    void compare(std::size_t row, const Rows& rows) const {
        const std::size_t width = of_.width, columns = width / CELL;
        std::fill_n(rows.border, BORDER_PLANES * width, 0.0f);
        std::fill_n(rows.smaller, (1 + COLOURS) * rows.half, 0.0f);
        std::fill_n(rows.levels, LEVEL_PLANES * rows.half, 0.0f);
        for (std::size_t y = row * CELL; y < (row + 1) * CELL; ++y) {
            make_matte(y, 0, INFINITY, -INFINITY, rows.matte);
            const float *light[COLOURS], *shades[COLOURS];
            for (std::size_t c = 0; c < COLOURS; ++c) {
                float* linear = memory_.linear + c * memory_.area + y * width;
                HWY_DYNAMIC_DISPATCH(linear_row)(of_.image[c] + y * width, width, linear);
                light[c] = below(c, y, linear, rows);
                shades[c] = shade(c, y, rows);
                HWY_DYNAMIC_DISPATCH(log_row)(shades[c], width, memory_.log_shade + c * memory_.area + y * width);
            }
            add_border_row(rows.matte, light, shades, width, rows.border);
            if (y % 2 == 1) add_half_row(y, rows);
        }
        const auto cells = [&](const float* sums, std::size_t planes, std::size_t stride, std::size_t side, float* to) {
            const float share = 1 / static_cast<float>(side * side);
            for (std::size_t i = 0; i < planes; ++i)
                pool(sums + i * stride, side, share, columns, to + i * memory_.cells + row * columns);
        };
        cells(rows.border, BORDER_PLANES, width, CELL, memory_.border);
        cells(rows.levels, LEVEL_PLANES, rows.half, CELL / 2, memory_.levels);
    }

    // Rows y - 1 and y of the photo as one of half its size.
    void add_half_row(std::size_t y, const Rows& rows) const {
        const std::size_t width = of_.width;
        const float* light[COLOURS];
        for (std::size_t i = 0; i <= COLOURS; ++i) {
            const float* plane = i == 0 ? memory_.logits : memory_.linear + (i - 1) * memory_.area;
            float* to = rows.smaller + i * rows.half;
            HWY_DYNAMIC_DISPATCH(add_rows)(plane + (y - 1) * width, plane + y * width, 0.25f, width, rows.both);
            pool(rows.both, 2, 1, width / 2, to);
            if (i > 0) light[i - 1] = to;
        }
        add_level_row(rows.smaller, light, rows.half, rows.levels);
    }

    void calibrated_row(std::size_t y, const Rows& rows) const {
        if (of_.shadow) make_matte(y, shift_, MOST_LOGIT, LEAST_LOGIT, of_.shadow + y * of_.width);
        if (!of_.clean[0]) return;
        for (std::size_t c = 0; c < COLOURS; ++c) {
            const std::size_t begin = c * memory_.area + y * of_.width;
            const float* linear = memory_.linear + begin;
            HWY_DYNAMIC_DISPATCH(power_row)(memory_.log_shade + begin, exponents_[c], of_.width, rows.shade);
            make_clean(c, y, linear, below(c, y, linear, rows), rows.shade);
        }
    }

    const Degradation& of_;
    Memory memory_;
    Workers& workers_;
    Scratch& scratch_;
    std::array<float, COLOURS> exponents_ = {};
    float shift_ = 0;
};

}  // namespace

std::size_t degradation_memory(const Degradation& of) { return Memory(of, nullptr).parts.size(); }

std::size_t degradation_scratch(const Degradation& of) {
    return std::max(Rows(of, nullptr).parts.size(), window_scratch(of.height / CELL, of.width / CELL));
}

void restore(const Degradation& of, float* memory, Workers& workers, Scratch& scratch) {
    Restoration(of, memory, workers, scratch).run();
}

}  // namespace shadowdiffusion
#endif
