// Convolutions of both ways against plain ones in double precision.
#include <doctest/doctest.h>

#include <cstring>

#include "cpu/convolving.h"
#include "cpu/sums.h"

using namespace shadowdiffusion;

namespace {

constexpr double DIRECT_ERROR = 1e-6, WINOGRAD_ERROR = 5e-6, SUM_ERROR = 1e-6;

void check(const Case& of) {
    CAPTURE(of.text());
    const Convolving convolving(of);
    for (const bool winograd : {false, true}) {
        if (winograd && !of.winograd()) continue;
        CAPTURE(winograd);
        const Convolved made = convolving.run(winograd, of.patch * of.patch * of.outputs);
        CHECK(relative_l2(made.grid.values, convolving.reference().values) < (winograd ? WINOGRAD_ERROR : DIRECT_ERROR));
        if (of.patch == 1) CHECK(error_of_sums(made.sums, made.grid) < SUM_ERROR);
    }
}

bool same_bits(const Convolved& a, const Convolved& b) {
    return a.values.size() == b.values.size() && std::memcmp(a.values.data(), b.values.data(), a.values.size() * sizeof(float)) == 0 &&
           a.sums == b.sums;
}

}  // namespace

TEST_CASE("convolutions of every kind are right") {
    for (const Case& kind : {Case{.kernel = 1}, Case{.kernel = 1, .doubled = true}, Case{.kernel = 1, .step = 2}, Case{},
                             Case{.doubled = true}, Case{.step = 2}})
        for (const Activation activation : {Activation::none, Activation::relu, Activation::silu})
            for (const bool scaled : {false, true})
                for (const bool plus : {false, true}) {
                    Case of = kind;
                    of.activation = activation, of.scaled = scaled, of.plus = plus;
                    of.inputs = 32, of.outputs = 48;
                    check(of);
                }
}

TEST_CASE("convolutions of 2x2 have no margin") {
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{2, 2}, {2, 114}, {16, 14}, {14, 18}})
        for (const std::size_t inputs : {16u, 48u})
            for (const bool plus : {false, true})
                check({.kernel = 2, .step = 2, .activation = Activation::silu, .scaled = plus, .plus = plus, .inputs = inputs,
                       .outputs = 48, .height = height, .width = width});
}

TEST_CASE("convolutions of 1x1 take pixels standardised over their channels, or give patches of four") {
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{1, 1}, {7, 8}, {3, 19}, {13, 18}})
        for (const std::size_t inputs : {16u, 32u, 80u})
            for (const bool plus : {false, true}) {
                Case of{.kernel = 1, .plus = plus, .inputs = inputs, .outputs = 96, .height = height, .width = width};
                of.epsilon = 1e-6f;
                check(of);
                of.patch = 2;
                check(of);
                of.epsilon = 0, of.outputs = 32, of.activation = Activation::relu, of.scaled = true;
                check(of);
            }
}

TEST_CASE("convolutions are right for maps of any size") {
    // 7x8: a direct block; 3x19: one pixel more. 32x24: a block of Winograd's; 33x25: one pixel more each way.
    const std::size_t sizes[][2] = {{1, 1}, {2, 3}, {5, 7}, {4, 4}, {3, 4}, {7, 8}, {3, 19}, {1, 57}, {113, 1},
                                    {24, 32}, {25, 33}, {32, 24}, {33, 47}, {4, 100}};
    for (const auto& [height, width] : sizes)
        for (const Case& kind : {Case{}, Case{.step = 2}, Case{.doubled = true}, Case{.kernel = 1}}) {
            Case of = kind;
            of.activation = Activation::silu, of.scaled = of.plus = true;
            of.height = height, of.width = width, of.inputs = 16, of.outputs = 48;
            check(of);
        }
}

TEST_CASE("convolutions are right for any numbers of channels") {
    for (const std::size_t inputs : {16u, 32u, 48u, 160u})
        for (const std::size_t outputs : {16u, 32u, 48u, 160u})
            for (const Case& kind : {Case{}, Case{.kernel = 1}}) {
                Case of = kind;
                of.activation = Activation::relu, of.scaled = of.plus = true;
                of.height = 13, of.width = 18, of.inputs = inputs, of.outputs = outputs;
                check(of);
            }
    check({.activation = Activation::silu, .scaled = true, .inputs = 160, .outputs = 160, .height = 33, .width = 47});
}

TEST_CASE("a convolution's outcome does not depend on how its channels are divided, nor on the order of blocks") {
    for (const Case& kind : {Case{}, Case{.kernel = 1}, Case{.step = 2}, Case{.kernel = 1, .outputs = 192, .patch = 2}}) {
        Case of = kind;
        of.activation = Activation::silu, of.scaled = of.plus = true;
        of.height = 33, of.width = 47, of.inputs = 48;
        if (of.patch == 1) of.outputs = 176;
        const Convolving convolving(of);
        for (const bool winograd : {false, true}) {
            if (winograd && !of.winograd()) continue;
            const Convolved whole = convolving.run(winograd, of.patch * of.patch * of.outputs);
            for (const std::size_t width : {32u, 64u, 96u}) {
                CHECK(same_bits(whole, convolving.run(winograd, width)));
                CHECK(same_bits(whole, convolving.run(winograd, width, true)));
            }
        }
    }
}

TEST_CASE("Winograd's way is for kernels of 3x3 with step 1 and a dozen tiles or more") {
    Convolution of{.in = {nullptr, 16, 12, 16}, .out = {nullptr, 16, 12, 16}};
    CHECK(suits_winograd(of));
    of.out.width = 8;
    CHECK(!suits_winograd(of));
    of.out.width = 12, of.kernel = 1;
    CHECK(!suits_winograd(of));
    of.kernel = 3, of.step = 2;
    CHECK(!suits_winograd(of));
}
