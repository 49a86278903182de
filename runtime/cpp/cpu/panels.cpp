#include "cpu/panels.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include <sys/mman.h>

namespace shadowdiffusion {

namespace {

constexpr std::size_t LARGE_PAGE = std::size_t{2} << 20, POINTS = 6;
// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.3, times 24.
constexpr double G[POINTS][3] = {{6, 0, 0}, {-4, -4, -4}, {-4, 4, -4}, {1, 2, 4}, {1, -2, 4}, {0, 0, 24}};

}  // namespace

Values::Values(std::size_t count) : count_(count) {
    const bool large = count * sizeof(float) >= LARGE_PAGE;
    const std::size_t unit = large ? LARGE_PAGE : 64, bytes = (std::max<std::size_t>(count * sizeof(float), 1) + unit - 1) / unit * unit;
    if (bytes / sizeof(float) < count) throw std::bad_alloc();
    memory_.reset(static_cast<float*>(std::aligned_alloc(unit, bytes)));
    if (!memory_) throw std::bad_alloc();
    if (large) madvise(memory_.get(), bytes, MADV_HUGEPAGE);
}

void Values::Release::operator()(float* memory) const { std::free(memory); }

Values plain_panels(std::span<const float> weights, std::size_t taps, std::size_t inputs, std::size_t outputs) {
    const std::size_t rows = taps * inputs;
    Values made(panels_of(outputs) * rows * PANEL);
    for (std::size_t panel = 0; panel < panels_of(outputs); ++panel)
        for (std::size_t row = 0; row < rows; ++row) {
            float* to = made.data() + (panel * rows + row) * PANEL;
            const std::size_t first = panel * PANEL, count = std::min(PANEL, outputs - first);
            std::copy_n(weights.data() + row * outputs + first, count, to);
            std::fill(to + count, to + PANEL, 0.0f);
        }
    return made;
}

Values winograd_panels(std::span<const float> weights, std::size_t inputs, std::size_t outputs, Workers& workers) {
    Values made(panels_of(outputs) * POINTS * POINTS * inputs * PANEL);
    const std::size_t tap = inputs * outputs;
    workers.over(panels_of(outputs) * inputs, 16, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            const std::size_t panel = i / inputs, input = i % inputs;
            const std::size_t first = panel * PANEL, count = std::min(PANEL, outputs - first);
            double half[POINTS][3][PANEL] = {};  // G w
            for (std::size_t p = 0; p < POINTS; ++p)
                for (std::size_t x = 0; x < 3; ++x)
                    for (std::size_t y = 0; y < 3; ++y) {
                        const float* from = weights.data() + (3 * y + x) * tap + input * outputs + first;
                        for (std::size_t k = 0; k < count; ++k) half[p][x][k] += G[p][y] / 24 * static_cast<double>(from[k]);
                    }
            for (std::size_t p = 0; p < POINTS; ++p)
                for (std::size_t q = 0; q < POINTS; ++q) {
                    float* to = made.data() + (((panel * POINTS + p) * POINTS + q) * inputs + input) * PANEL;
                    for (std::size_t k = 0; k < PANEL; ++k) {
                        const double sum = half[p][0][k] * G[q][0] + half[p][1][k] * G[q][1] + half[p][2][k] * G[q][2];
                        to[k] = static_cast<float>(sum / 24);
                    }
                }
        }
    });
    return made;
}

}  // namespace shadowdiffusion
