#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "bundle/bundle.h"
#include "errors.h"
#include "fake_networks.h"
#include "loop/native_loop.h"
#include "loop/padding.h"
#include "loop/tiles.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

Pixels noisy(std::size_t height, std::size_t width) {
    Pixels pixels;
    pixels.shape(PixelType::uint8, height, width, 3);
    std::mt19937 random(0);
    for (std::byte& byte : pixels.bytes) byte = static_cast<std::byte>(random() % 256);
    return pixels;
}

// A photo at its own size, through networks with so much memory, and what was said of it.
struct Tried {
    Tried(Restorer& restorer, const Pixels& photo, bool native = true) {
        Options options;
        options.native = native;
        if (!native) options.working_size = 4096;
        options.warn = [&](const std::string& line) { lines.push_back(line); };
        found = restorer.restore(photo.view(), nullptr, options);
    }
    Restored found;
    std::vector<std::string> lines;
};

int most_different(const Pixels& a, const Pixels& b) {
    int most = 0;
    for (std::size_t i = 0; i < a.bytes.size(); ++i)
        most = std::max(most, std::abs(std::to_integer<int>(a.bytes[i]) - std::to_integer<int>(b.bytes[i])));
    return most;
}

}  // namespace

TEST_CASE("tiles cover an axis with weights that add up to one and fade at ends that are not the image's") {
    for (std::size_t length = 8; length <= 1000; length += 8)
        for (const std::size_t tile : {16u, 40u, 64u, 104u, 128u, 136u, 184u, 304u, 512u}) {
            const std::vector<Span> found = spans(length, tile, 8);
            REQUIRE(found.size() == tile_count(length, tile));
            std::vector<double> total(length);
            for (std::size_t i = 0; i < found.size(); ++i) {
                const auto& [begin, weights] = found[i];
                REQUIRE(begin % 8 == 0);
                REQUIRE(weights.size() == std::min(tile, length));
                REQUIRE(begin + weights.size() <= length);
                if (i > 0) {
                    const auto& [before, others] = found[i - 1];
                    REQUIRE(before < begin);
                    REQUIRE(before + others.size() + 8 >= begin + std::min(OVERLAP, tile / 2));
                }
                for (std::size_t x = 0; x < weights.size(); ++x) {
                    REQUIRE(weights[x] > 0);
                    total[begin + x] += static_cast<double>(weights[x]);
                }
                if (tile < 128) continue;
                CHECK((begin == 0 || weights.front() < 0.001f));
                CHECK((begin + tile >= length || weights.back() < 0.001f));
            }
            for (const double sum : total) REQUIRE(std::abs(sum - 1) < 1e-6);
        }
}

TEST_CASE("networks that only look near give the same on tiles") {
    FakeNetworks whole;
    TiledNetworks tiled(whole, {96, 200}, {64, 48}, 8);
    std::vector<float> values(96 * 200 * 14);
    std::mt19937 random(0);
    for (float& value : values) value = static_cast<float>(random() % 1000) / 1000;
    std::size_t used = 0;
    const auto planes = [&](std::size_t channels) {
        used += channels * 96 * 200;
        return Planes{std::span(values).subspan(used - channels * 96 * 200, channels * 96 * 200), channels, 96, 200};
    };
    const Planes image = planes(3), mask = planes(1), one = planes(3), two = planes(3), matte = planes(1), other = planes(1);
    const auto same = [](Planes a, Planes b) {
        for (std::size_t i = 0; i < a.values.size(); ++i) REQUIRE(std::abs(a.values[i] - b.values[i]) < 1e-6f);
    };
    whole.prior(image, mask, one, matte);
    tiled.prior(image, mask, two, other);
    same(one, two), same(matte, other);
    whole.denoise(image, mask, image, Step{}, one, matte);
    tiled.denoise(image, mask, image, Step{}, two, other);
    same(one, two), same(matte, other);
    tiled.denoise(image, mask, image, Step{}, two, Planes{});
    same(one, two);
    CHECK(tiled.title() == "networks of a few lines, in tiles of 48x64 pixels");
}

TEST_CASE("running out of memory halves the tile until it fits, and the next photo begins with that") {
    std::vector<Size> seen;
    const auto tight = fake_restorer(load_folder(BUNDLES "/shadow"), 2, {200 * 200, &seen});
    const Pixels photo = noisy(300, 520);
    const Tried tiled(*tight, photo), whole(*fake_restorer(load_folder(BUNDLES "/shadow")), photo);
    CHECK(whole.lines.empty());
    CHECK_FALSE(whole.found.run.tile.has_value());
    const std::size_t multiple = static_cast<std::size_t>(tight->bundle().manifest.model.multiple);
    const Size padded{rounded_up(300, multiple), rounded_up(520, multiple)};
    REQUIRE(tiled.lines.size() == 3);
    CHECK(tiled.lines[0].starts_with(text("native size ", padded.second, "x", padded.first,
                                          " is run on 2x1 overlapping tiles of ")));
    CHECK(tiled.lines[2].find(" is run on 4x2 overlapping tiles of ") != std::string::npos);
    CHECK(tiled.lines[2].find("not quite as good as in one piece: memory ran out (") != std::string::npos);
    REQUIRE(tiled.found.run.tile.has_value());
    CHECK(seen.back() == *tiled.found.run.tile);
    CHECK(most_different(tiled.found.image, whole.found.image) <= 1);
    seen.clear();
    const Tried again(*tight, photo);
    CHECK(again.lines.size() == 1);
    CHECK(std::set(seen.begin(), seen.end()) == std::set{*tiled.found.run.tile});
    CHECK(again.found.image.bytes == tiled.found.image.bytes);
}

TEST_CASE("memory that is not even enough for small tiles is one line, and only native is tiled") {
    const auto tight = fake_restorer(load_folder(BUNDLES "/shadow"), 2, {1000, nullptr});
    const Pixels photo = noisy(300, 520);
    CHECK_THROWS_WITH_AS(Tried(*tight, photo),
                         "memory ran out even with tiles of 128x128 pixels: leave out native, or end other programs "
                         "(16384 pixels are too many)",
                         OutOfMemoryError);
    CHECK_THROWS_WITH_AS(Tried(*tight, photo, false), "160512 pixels are too many", OutOfMemoryError);
}

TEST_CASE("tiles are as large as memory allows: the truths of the Python runtime") {
    const Bundle bundle = load_folder(BUNDLES "/shadow");
    ModelInfo model = bundle.manifest.model;
    model.multiple = 8;
    const std::vector<std::tuple<Size, double, Size>> known{
        {{1024, 2048}, 1.1, {1024, 2048}}, {{1024, 2048}, 0.99, {1024, 1056}}, {{1024, 2048}, 0.5, {1024, 560}},
        {{1024, 2048}, 0.1, {544, 312}},   {{256, 8192}, 0.25, {256, 1080}},   {{8192, 64}, 0.3, {2096, 64}},
        {{1024, 2048}, 1e-4, {128, 128}},
    };
    for (const auto& [whole, share, tile] : known) {
        const auto pixels = static_cast<double>(whole.first * whole.second);
        const double free = (LOOP_BYTES + share * network_bytes(model)) * pixels / MEMORY_SHARE;
        const Choice choice = fitting({whole, ""}, whole, static_cast<std::int64_t>(free) + 1, model);
        CHECK(choice.tile == tile);
        CHECK(choice.reason.empty() == (tile == whole));
        CHECK(fitting({whole, ""}, whole, {}, model).tile == whole);
    }
    CHECK_THROWS_WITH_AS(fitting({{304, 520}, ""}, {304, 520}, 1000, model),
                         "520x304 pixels do not fit into memory (0.1 GiB are needed, 0.0 are free): leave out native",
                         OutOfMemoryError);
}
