// Attention against a plain one in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/attention.h"
#include "cpu/reference.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

// All of it, blocks and parts from the last one on where `backwards`.
std::vector<float> attended(const Attention& of, bool backwards = false) {
    const Values shared(attention_shared(of)), scratch(attention_scratch(of));
    for (const Values* memory : {&shared, &scratch})
        std::fill_n(memory->data(), memory->count(), std::numeric_limits<float>::quiet_NaN());
    const auto at = [&](std::size_t i, std::size_t count) { return backwards ? count - 1 - i : i; };
    const std::size_t parts = attention_parts(of), blocks = attention_blocks(of);
    for (std::size_t i = 0; i < parts; ++i) attention_part(of, at(i, parts), shared.data());
    for (std::size_t i = 0; i < blocks; ++i) attention_block(of, at(i, blocks), shared.data(), scratch.data());
    return {of.out.data, of.out.data + of.out.area() * of.out.channels};
}

struct Maps {
    Maps(std::size_t height, std::size_t width, std::size_t channels, float deviation)
        : query(height, width, channels), key(height, width, channels), value(height, width, channels), out(height, width, channels) {
        Numbers numbers(2);
        for (const FloatMap* map : {&query, &key}) numbers.fill(map->values(), 0, deviation);
        numbers.fill(value.values(), 0.5f);
    }
    Attention attention(float scale) const { return {query.channels(), key.channels(), value.channels(), out.channels(), scale}; }
    FloatMap query, key, value, out;
};

}  // namespace

TEST_CASE("attention is right for any number of pixels and channels") {
    const std::size_t sizes[][2] = {{1, 1}, {1, 31}, {4, 8}, {3, 11}, {7, 8}, {3, 19}, {10, 20}};
    for (const auto& [height, width] : sizes)
        for (const std::size_t channels : {16u, 32u, 48u, 160u}) {
            CAPTURE(text(height, "x", width, " pixels of ", channels, " channels"));
            const Maps maps(height, width, channels, 1);
            const float scale = 1 / std::sqrt(static_cast<float>(channels));
            const Grid right = attend(maps.query.grid(), maps.key.grid(), maps.value.grid(), static_cast<double>(scale));
            const std::vector<float> made = attended(maps.attention(scale));
            CHECK(relative_l2(maps.out.grid().values, right.values) < 1e-6);
            CHECK(made == attended(maps.attention(scale), true));
        }
}

TEST_CASE("attention to one pixel alone takes its value, however large products are") {
    const Maps maps(10, 20, 32, 1e4f);
    const Grid right = attend(maps.query.grid(), maps.key.grid(), maps.value.grid(), 1);
    attended(maps.attention(1));
    CHECK(relative_l2(maps.out.grid().values, right.values) < 1e-6);
}
