// What follows the first gate of a block against a plain one in double precision.
#include <doctest/doctest.h>

#include <limits>

#include "cpu/pointwise.h"
#include "cpu/reference.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

constexpr float EPSILON = 1e-6f;

struct Sizes {
    std::size_t inputs = 32, hidden = 32, outputs = 32, height = 5, width = 7;
};

class Pointing {
  public:
    // mean, deviation: of `plus`. projected: how large what is projected is.
    explicit Pointing(const Sizes& of, float mean = 0.3f, float deviation = 1, float projected = 1)
        : in_(of.height, of.width, of.inputs), plus_(of.height, of.width, of.outputs), hidden_(of.hidden) {
        Numbers numbers(12);
        numbers.fill(in_.values());
        numbers.fill(plus_.values(), mean, deviation);
        scale_ = numbers.some(of.inputs, 1, 0.5f);
        const std::size_t sizes[][2] = {{of.inputs, of.outputs}, {of.outputs, of.hidden}, {of.outputs, of.hidden}, {of.hidden, of.outputs}};
        for (std::size_t i = 0; i < 4; ++i) {
            const auto [inputs, outputs] = sizes[i];
            const float size = i == 0 ? projected : 1;
            weights_[i] = numbers.some(inputs * outputs, 0, 0.15f * size), biases_[i] = numbers.some(outputs, 0, 0.3f * size);
            panels_[i] = plain_panels(weights_[i], 1, inputs, outputs);
        }
    }

    Grid reference() const {
        const auto matrix = [&](std::size_t i) { return Matrix{weights_[i], biases_[i]}; };
        return apply_pointwise(in_.grid(), plus_.grid(), std::vector<double>(scale_.begin(), scale_.end()),
                               {matrix(0), matrix(1), matrix(2), matrix(3)}, static_cast<double>(EPSILON));
    }

    // What was added to `plus`.
    std::vector<double> added(const Grid& out) const {
        std::vector<double> made = out.values;
        const Grid plus = plus_.grid();
        for (std::size_t i = 0; i < made.size(); ++i) made[i] -= plus.values[i];
        return made;
    }

    // The last block first.
    Grid run(std::size_t pixels) const {
        const FloatMap out(plus_.channels().height, plus_.channels().width, plus_.channels().channels);
        const auto linear = [&](std::size_t i) { return Linear{panels_[i].data(), biases_[i].data()}; };
        const Pointwise of{.in = in_.channels(), .plus = plus_.channels(), .out = out.channels(), .scale = scale_.data(),
                           .hidden = hidden_, .project = linear(0), .first = linear(1), .second = linear(2),
                           .contract = linear(3), .epsilon = EPSILON, .pixels = pixels};
        const Values scratch(pointwise_scratch(of));
        std::fill_n(scratch.data(), scratch.count(), std::numeric_limits<float>::quiet_NaN());
        for (std::size_t i = pointwise_blocks(of); i-- > 0;) pointwise_block(of, i, scratch.data());
        return out.grid();
    }

  private:
    FloatMap in_, plus_;
    std::size_t hidden_;
    std::vector<float> scale_, weights_[4], biases_[4];
    Values panels_[4];
};

void check(const Sizes& of) {
    CAPTURE(text(of.inputs, " to ", of.hidden, " to ", of.outputs, " channels, ", of.height, "x", of.width, " pixels"));
    const Pointing pointing(of);
    const Grid right = pointing.reference();
    CHECK(relative_l2(pointing.run(Pointwise::MOST_PIXELS).values, right.values) < 1e-6);
}

}  // namespace

TEST_CASE("pointwise steps are right for any numbers of channels") {
    for (const std::size_t inputs : {16u, 48u, 64u})
        for (const std::size_t hidden : {16u, 32u, 80u})
            for (const std::size_t outputs : {16u, 32u, 48u}) check({inputs, hidden, outputs});
    check({256, 256, 256});
}

TEST_CASE("pointwise steps are right for any number of pixels, however they are divided") {
    const std::size_t sizes[][2] = {{1, 1}, {1, 15}, {7, 8}, {3, 19}, {16, 21}};
    for (const auto& [height, width] : sizes) {
        const Sizes of{32, 48, 16, height, width};
        check(of);
        const Pointing pointing(of);
        const Grid whole = pointing.run(Pointwise::MOST_PIXELS);
        for (const std::size_t pixels : {1u, 5u, 13u, 14u, 42u}) CHECK(pointing.run(pixels).values == whole.values);
    }
}

TEST_CASE("pixels whose channels are nearly alike are standardised without losing what they differ by") {
    // around 8, floats are apart by 1e-6, a thousandth of the deviation; the mean of squares less the square would be nothing
    const Pointing pointing({32, 32, 32}, 8, 1e-3f, 0);
    const std::vector<double> right = pointing.added(pointing.reference());
    CHECK(relative_l2(pointing.added(pointing.run(Pointwise::MOST_PIXELS)), right) < 1e-3);
}
