#include "cpu/naive_degradation.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr std::size_t CELL = 4, LEVELS = 11;

double level(std::size_t i) { return -0.8 + 0.4 * static_cast<double>(i); }

// visit(y, x) for all pixels.
template <class Visit>
void over(const Grid& grid, const Visit& visit) {
    for (std::size_t y = 0; y < grid.height; ++y)
        for (std::size_t x = 0; x < grid.width; ++x) visit(y, x);
}

// sum of values times weights, over the sum of weights.
double mean(const std::vector<double>& values, const std::vector<double>& weights) {
    double sum = 0, total = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[i] * weights[i], total += weights[i];
    return sum / std::max(total, 1e-3);
}

double typical(const std::vector<double>& values, const std::vector<double>& weights) {
    double found = mean(values, weights);
    for (int round = 0; round < 4; ++round) {
        std::vector<double> trusted = weights;
        for (std::size_t i = 0; i < values.size(); ++i) trusted[i] /= 1 + std::pow((values[i] - found) / 0.15, 2);
        found = mean(values, trusted);
    }
    return found;
}

}  // namespace

double linear_of(double encoded) { return encoded <= 0.04045 ? encoded / 12.92 : std::pow((encoded + 0.055) / 1.055, 2.4); }

double encoded_of(double linear) { return linear <= 0.0031308 ? linear * 12.92 : 1.055 * std::pow(linear, 1 / 2.4) - 0.055; }

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

Grid pooled(const Grid& in, std::size_t side) {
    Grid out(in.height / side, in.width / side, in.channels);
    over(in, [&](std::size_t y, std::size_t x) {
        for (std::size_t c = 0; c < in.channels; ++c)
            out.pixel(y / side, x / side)[c] += in.pixel(y, x)[c] / static_cast<double>(side * side);
    });
    return out;
}

Grid averaged(const Grid& in, double sigma, std::size_t radius) {
    std::vector<double> taps;
    double sum = 0;
    for (std::size_t i = 0; i <= 2 * radius; ++i) {
        const double distance = static_cast<double>(i) - static_cast<double>(radius);
        sum += taps.emplace_back(std::exp(-0.5 * distance * distance / (sigma * sigma)));
    }
    Grid out(in.height, in.width, in.channels);
    over(out, [&](std::size_t y, std::size_t x) {
        for (std::size_t i = 0; i < taps.size(); ++i)
            for (std::size_t j = 0; j < taps.size(); ++j) {
                const std::size_t row = y + i, column = x + j;
                if (row < radius || row - radius >= in.height || column < radius || column - radius >= in.width) continue;
                for (std::size_t c = 0; c < in.channels; ++c)
                    out.pixel(y, x)[c] += in.pixel(row - radius, column - radius)[c] * taps[i] * taps[j] / (sum * sum);
            }
    });
    return out;
}

Grid enlarged(const Grid& in, std::size_t times) {
    struct Between {
        std::size_t one, other;
        double share;
    };
    const auto between = [&](std::size_t i, std::size_t count) {
        const double position = std::max((static_cast<double>(i) + 0.5) / static_cast<double>(times) - 0.5, 0.0);
        const auto one = static_cast<std::size_t>(position);
        return Between{one, std::min(one + 1, count - 1), position - static_cast<double>(one)};
    };
    Grid out(in.height * times, in.width * times, in.channels);
    over(out, [&](std::size_t y, std::size_t x) {
        const Between down = between(y, in.height), across = between(x, in.width);
        for (std::size_t c = 0; c < in.channels; ++c) {
            const double above = std::lerp(in.pixel(down.one, across.one)[c], in.pixel(down.one, across.other)[c], across.share);
            const double below = std::lerp(in.pixel(down.other, across.one)[c], in.pixel(down.other, across.other)[c], across.share);
            out.pixel(y, x)[c] = std::lerp(above, below, down.share);
        }
    });
    return out;
}

Grid border_values(const Grid& linear, const Grid& shade, const Grid& matte) {
    Grid out(linear.height, linear.width, 11);
    over(out, [&](std::size_t y, std::size_t x) {
        double* to = out.pixel(y, x);
        const double m = matte.pixel(y, x)[0];
        to[0] = std::max(m - 0.7, 0.0) / (1 - 0.7), to[1] = std::max(0.2 - m, 0.0) / 0.2;
        for (std::size_t c = 0; c < 3; ++c) {
            const double light = std::log(linear.pixel(y, x)[c] + 0.01);
            const double gain = std::exp(-std::log(shade.pixel(y, x)[c]));
            const double restored = std::log(linear.pixel(y, x)[c] * gain + 0.01);
            to[2 + c] = to[0] * restored, to[5 + c] = to[1] * restored, to[8 + c] = to[0] * (restored - light);
        }
    });
    return out;
}

Colours agreed_change(const Grid& near) {
    Grid votes(near.height, near.width, 3), weights = votes;
    over(near, [&](std::size_t y, std::size_t x) {
        const double* of = near.pixel(y, x);
        const double inside = std::max(of[0], 1e-3), outside = std::max(of[1], 1e-3);
        for (std::size_t c = 0; c < 3; ++c) {
            const double step = of[5 + c] / outside - of[2 + c] / inside, gain = std::max(of[8 + c] / inside, 0.05);
            votes.pixel(y, x)[c] = std::clamp(step / gain, -0.6, 0.6);
            weights.pixel(y, x)[c] = std::max(std::min(of[0], of[1]) - 0.02, 0.0) * gain;
        }
    });
    Colours agreed = {}, total = {};
    for (int round = 0; round <= 12; ++round) {
        Colours sum = {};
        total = {};
        over(near, [&](std::size_t y, std::size_t x) {
            double trust = 1;
            if (round > 0) {
                double square = 0;
                for (std::size_t c = 0; c < 3; ++c) square += std::pow((votes.pixel(y, x)[c] - agreed[c]) / 0.15, 2);
                trust = 1 / (1 + square / 3);
            }
            for (std::size_t c = 0; c < 3; ++c) {
                total[c] += weights.pixel(y, x)[c] * trust;
                sum[c] += weights.pixel(y, x)[c] * trust * votes.pixel(y, x)[c];
            }
        });
        for (std::size_t c = 0; c < 3; ++c) agreed[c] = sum[c] / std::max(total[c], 1e-3);
    }
    for (std::size_t c = 0; c < 3; ++c) agreed[c] *= total[c] / (total[c] + 10);
    return agreed;
}

Grid level_values(const Grid& linear, const Grid& logits) {
    const Grid light = pooled(linear, 2), matte = pooled(logits, 2);
    Grid out(light.height, light.width, 4 * (1 + LEVELS));
    over(out, [&](std::size_t y, std::size_t x) {
        double* to = out.pixel(y, x);
        for (std::size_t part = 0; part < 4; ++part) {
            to[part] = part == 0 ? 1 : std::log(light.pixel(y, x)[part - 1] + 0.01);
            for (std::size_t i = 0; i < LEVELS; ++i)
                to[4 + part * LEVELS + i] = to[part] * std::clamp((matte.pixel(y, x)[0] - level(i)) / 0.1 + 0.5, 0.0, 1.0);
        }
    });
    return out;
}

std::vector<double> inconsistencies(const Grid& near) {
    std::vector<double> made;
    for (std::size_t i = 0; i < LEVELS; ++i) {
        std::vector<double> weight, steps[3], red, blue;
        over(near, [&](std::size_t y, std::size_t x) {
            const double *total = near.pixel(y, x), *within = total + 4 + i;  // LEVELS apart
            const double in = within[0], out = total[0] - in;
            weight.push_back(std::clamp((std::min(in, out) - 0.25) / 0.1, 0.0, 1.0));
            for (std::size_t c = 1; c <= 3; ++c) {
                const double inside = within[c * LEVELS] / std::max(in, 1e-3);
                steps[c - 1].push_back((total[c] - within[c * LEVELS]) / std::max(out, 1e-3) - inside);
            }
            red.push_back(steps[0].back() - steps[1].back());
            blue.push_back(steps[2].back() - steps[1].back());
        });
        double strength = 0, length = 0;
        for (const std::vector<double>& step : steps) strength += typical(step, weight) / 3;
        strength = std::max(strength, 0.05);
        const auto away = [&](const std::vector<double>& of, std::size_t cell, double from) {
            return std::min(std::abs((of[cell] - from) / strength), 1.0);
        };
        const double typical_red = typical(red, weight), typical_blue = typical(blue, weight);
        const double typical_steps[] = {typical(steps[0], weight), typical(steps[1], weight), typical(steps[2], weight)};
        std::vector<double> wrong;
        for (std::size_t cell = 0; cell < weight.size(); ++cell) {
            double spread = 0, step = 0;
            for (std::size_t c = 0; c < 3; ++c) spread += away(steps[c], cell, typical_steps[c]) / 3, step += steps[c][cell] / 3;
            const double tinge = (away(red, cell, typical_red) + away(blue, cell, typical_blue)) / 2;
            const double no_step = std::clamp((0.25 - step / strength) / 0.25 + 0.5, 0.0, 1.0);
            wrong.push_back(spread + tinge + 2 * no_step);
            length += weight[cell];
        }
        made.push_back(mean(wrong, weight) + 2 * 1.4 * std::max(1 - length / 20, 0.0));
    }
    return made;
}

double chosen_level(const std::vector<double>& wrong) {
    double total = 0, sum = 0;
    const double least = std::min(*std::ranges::min_element(wrong), 1.4);
    for (std::size_t i = 0; i <= LEVELS; ++i) {
        const double weight = std::exp(-((i < LEVELS ? wrong[i] : 1.4) - least) / 0.03);
        total += weight, sum += weight * (i < LEVELS ? level(i) : 14);
    }
    return sum / total;
}

Restored restore_naively(const Grid& image, const Heads& heads, const Limits& limits) {
    const std::size_t times = image.height / heads.weight.height;
    const Grid linear = mapped(linear_of, image), matte = mapped(logistic, heads.matte);
    const Grid log_weight = enlarged(
        mapped([&](double x) { return limits.least + (limits.most - limits.least) * logistic(x); }, heads.weight), times);
    Grid below = linear, shade = log_weight;
    if (!heads.veil.values.empty()) {
        const Grid veil = enlarged(mapped([&](double x) { return limits.thickest * logistic(x); }, heads.veil), times);
        below = mapped([](double light, double v) { return std::max(light - v, 0.0); }, linear, veil);
    }
    for (std::size_t i = 0; i < shade.values.size(); ++i)
        shade.values[i] = 1 - (1 - std::exp(log_weight.values[i])) * matte.values[i / 3];
    Grid shadow = matte;
    if (!limits.trust.empty()) {
        const Colours change = agreed_change(averaged(pooled(border_values(below, shade, matte), CELL), 3, 9));
        for (std::size_t i = 0; i < shade.values.size(); ++i)
            shade.values[i] = std::pow(shade.values[i], 1 + static_cast<double>(limits.trust[i % 3]) * change[i % 3]);
        const std::vector<double> wrong = inconsistencies(averaged(pooled(level_values(linear, heads.matte), CELL / 2), 1.5, 4));
        const double shift = std::log(0.75 / 0.25) - chosen_level(wrong);
        shadow = mapped([&](double x) { return logistic(std::max(std::min(x, 12.0) + shift, -5.0)); }, heads.matte);
    }
    const auto clean = [](double light, double under, double h) {
        return encoded_of(std::clamp(under / h + (light - under), 0.0, 1.0));
    };
    return {mapped(clean, linear, below, shade), shadow};
}
