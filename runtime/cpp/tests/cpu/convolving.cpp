#include "cpu/convolving.h"

#include <algorithm>
#include <limits>

#include "cpu/reference.h"
#include "text.h"

using namespace shadowdiffusion;

std::string Case::text() const {
    return shadowdiffusion::text(kernel, "x", kernel, " step ", step, doubled ? " doubled" : "", " activation ",
                                 static_cast<int>(activation), scaled ? " scaled" : "", epsilon > 0 ? " standardised" : "",
                                 plus ? " plus" : "", " patch ", patch, ", ", inputs, " to ", outputs, " channels, ", height, "x", width, " pixels");
}

Convolving::Convolving(const Case& of)
    : case_(of), in_(of.height, of.width, of.inputs),
      plus_((of.height * (of.doubled ? 2 : 1) + of.step - 1) / of.step * of.patch,
            (of.width * (of.doubled ? 2 : 1) + of.step - 1) / of.step * of.patch, of.plus ? of.outputs : 0),
      out_height_(plus_.channels().height), out_width_(plus_.channels().width) {
    Numbers numbers(1);
    numbers.fill(in_.values(), 0.3f);
    numbers.fill(plus_.values(), -0.2f);
    const std::size_t taps = of.kernel * of.kernel, outputs = of.patch * of.patch * of.outputs;
    const std::vector<float> weights = numbers.some(taps * of.inputs * outputs, 0, 0.1f);
    Layer layer{.kernel = of.kernel, .step = of.step, .doubled = of.doubled, .activation = of.activation, .weights = weights,
                .bias = aligned(numbers.some(outputs), bias_), .scale = {}, .shift = {},
                .epsilon = static_cast<double>(of.epsilon), .patch = of.patch};
    if (of.scaled) {
        layer.scale = aligned(numbers.some(of.inputs, 1, 0.5f), scale_);
        layer.shift = aligned(numbers.some(of.inputs), shift_);
    }
    const Grid plus = plus_.grid();
    if (of.plus) layer.plus = &plus;
    reference_ = convolve(in_.grid(), layer);
    Workers workers(2);
    plain_ = plain_panels(weights, taps, of.inputs, outputs);
    if (of.winograd()) winograd_ = winograd_panels(weights, of.inputs, of.outputs, workers);
}

Convolved Convolving::run(bool winograd, std::size_t width, bool backwards) const {
    const FloatMap out(out_height_, out_width_, case_.outputs);
    Convolution of{.in = in_.channels(), .out = out.channels(), .panels = (winograd ? winograd_ : plain_).data(), .bias = bias_.data(),
                   .kernel = case_.kernel, .step = case_.step, .doubled = case_.doubled, .activation = case_.activation,
                   .epsilon = case_.epsilon, .patch = case_.patch};
    if (case_.scaled) of.scale = scale_.data(), of.shift = shift_.data();
    if (case_.plus) of.plus = plus_.channels();
    const Way& way = winograd ? WINOGRAD : DIRECT;
    const std::size_t blocks = way.blocks(of), pieces = (of.outputs() + width - 1) / width;
    std::vector<double> sums(of.patch == 1 ? blocks * 2 * case_.outputs : 0, std::numeric_limits<double>::quiet_NaN());
    if (of.patch == 1) of.sums = sums.data();
    const Values scratch(way.scratch(of));
    std::fill_n(scratch.data(), scratch.count(), std::numeric_limits<float>::quiet_NaN());
    for (std::size_t i = 0; i < blocks * pieces; ++i) {
        const std::size_t at = backwards ? blocks * pieces - 1 - i : i, first = at % pieces * width;
        way.run(of, at / pieces, first, std::min(first + width, of.outputs()), scratch.data());
    }
    Convolved made{{out.values().begin(), out.values().end()}, out.grid(), {}};
    if (of.sums) made.sums.resize(2 * case_.outputs);
    for (std::size_t i = 0; i < sums.size(); ++i) made.sums[i % made.sums.size()] += sums[i];
    return made;
}
