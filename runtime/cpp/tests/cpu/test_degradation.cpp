// The end of a degradation prior against the same in double precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/degradation.h"
#include "cpu/photos.h"
#include "text.h"

using namespace shadowdiffusion;

namespace {

constexpr float TRUST[] = {0.9f, 0.7f, 1.1f}, UNTOUCHED = -77;
constexpr std::size_t MARGIN = 64;

struct Wanted {
    bool veiled = true, calibrated = true, clean = true, shadow = true;
};

class Restoring {
  public:
    // shrink: of weight and veil. patch: of the matte.
    Restoring(const Shadowed& photo, std::size_t shrink, std::size_t patch)
        : photo_(photo), image_(planes_of(photo.image)), weight_(map_of(photo.heads.weight, 1, 16)),
          veil_(map_of(photo.heads.veil, 1, 16)),
          matte_(map_of(photo.heads.matte, patch, (patch * patch + LANES - 1) / LANES * LANES)), patch_(patch) {
        REQUIRE(photo.image.height == shrink * photo.heads.weight.height);
    }

    Restored reference(const Wanted& wanted) const {
        Heads heads = photo_.heads;
        if (!wanted.veiled) heads.veil = {};
        const std::span<const float> trust(TRUST, wanted.calibrated ? std::size(TRUST) : 0);
        return restore_naively(photo_.image, heads, {-4, 1.5, 0.03, trust});
    }

    // [clean, shadow] planes, those that are not wanted as they were. Nothing but outputs is written.
    std::vector<float> run(const Wanted& wanted, unsigned threads) const {
        const std::size_t area = photo_.image.height * photo_.image.width;
        std::vector<float> image = image_, out(4 * area + 2 * MARGIN, UNTOUCHED);
        Degradation of{.height = photo_.image.height, .width = photo_.image.width, .weight = weight_.channels(),
                       .matte = matte_.channels(), .patch = patch_, .least = -4, .most = 1.5f, .thickest = 0.03f};
        for (std::size_t c = 0; c < 3; ++c) {
            of.image[c] = image.data() + c * area;
            if (wanted.clean) of.clean[c] = out.data() + MARGIN + c * area;
        }
        if (wanted.shadow) of.shadow = out.data() + MARGIN + 3 * area;
        if (wanted.veiled) of.veil = veil_.channels();
        if (wanted.calibrated) of.trust = TRUST;
        Workers workers(threads);
        Scratch scratch(workers);
        scratch.prepare(degradation_scratch(of));
        const Values memory(degradation_memory(of));
        std::fill_n(memory.data(), memory.count(), std::numeric_limits<float>::quiet_NaN());
        scratch.over(threads, [&](std::size_t, float* piece) {  // of one thread at least
            std::fill_n(piece, degradation_scratch(of), std::numeric_limits<float>::quiet_NaN());
        });
        restore(of, memory.data(), workers, scratch);
        CHECK(image == image_);
        const auto untouched = [](float value) { return value == UNTOUCHED; };
        CHECK(std::all_of(out.begin(), out.begin() + MARGIN, untouched));
        CHECK(std::all_of(out.end() - MARGIN, out.end(), untouched));
        return {out.begin() + MARGIN, out.end() - MARGIN};
    }

  private:
    Shadowed photo_;
    std::vector<float> image_;
    FloatMap weight_, veil_, matte_;
    std::size_t patch_;
};

// The largest difference.
double error_of(std::span<const float> made, const std::vector<float>& right) {
    double worst = 0;
    for (std::size_t i = 0; i < right.size(); ++i) {
        const double difference = std::abs(static_cast<double>(made[i]) - static_cast<double>(right[i]));
        if (!(difference <= worst)) worst = difference;  // NaN, too
    }
    return worst;
}

void check(const Shadowed& photo, std::size_t shrink, std::size_t patch) {
    const Restoring restoring(photo, shrink, patch);
    for (const Wanted& wanted :
         {Wanted{}, Wanted{.veiled = false}, Wanted{.calibrated = false}, Wanted{.veiled = false, .calibrated = false}}) {
        CAPTURE(text(photo.name, " ", photo.image.height, "x", photo.image.width, " shrink ", shrink, " patch ", patch,
                     wanted.veiled ? " veiled" : "", wanted.calibrated ? " calibrated" : ""));
        const Restored right = restoring.reference(wanted);
        const std::vector<float> clean = planes_of(right.clean), shadow = planes_of(right.shadow);
        const std::vector<float> made = restoring.run(wanted, 2);
        CHECK(error_of(made, clean) < 1e-5);
        CHECK(error_of(std::span(made).subspan(clean.size()), shadow) < 1e-5);
    }
}

}  // namespace

TEST_CASE("priors end as in double precision, with and without a veil, calibrated or not") {
    for (const auto& [height, width] : {std::pair<std::size_t, std::size_t>{16, 16}, {48, 80}})
        for (const Shadowed& photo : shadowed_photos(height, width, 8)) check(photo, 8, 2);
}

TEST_CASE("weights of any size are enlarged, and mattes of any patch laid out") {
    for (const auto& [shrink, patch] : {std::pair<std::size_t, std::size_t>{2, 1}, {2, 16}, {4, 4}, {16, 1}, {16, 8}})
        check(shadowed_photos(32, 48, shrink).front(), shrink, patch);
    check(shadowed_photos(16, 16, 16).front(), 16, 2);
    for (const std::size_t shrink : {6u, 12u}) check(shadowed_photos(48, 96, shrink).front(), shrink, 3);
}

TEST_CASE("outputs that are not wanted are not written, and do not change the others") {
    for (const Shadowed& photo : shadowed_photos(16, 32, 8))
        for (const bool calibrated : {false, true}) {
            const Restoring restoring(photo, 8, 2);
            const auto made = [&](bool clean, bool shadow) {
                return restoring.run({.calibrated = calibrated, .clean = clean, .shadow = shadow}, 1);
            };
            const std::vector<float> both = made(true, true), clean = made(true, false), shadow = made(false, true);
            const auto matte = static_cast<std::ptrdiff_t>(3 * 16 * 32);
            const std::vector<float> nothing(both.size(), UNTOUCHED);
            CHECK(made(false, false) == nothing);
            CHECK(std::equal(clean.begin(), clean.begin() + matte, both.begin()));
            CHECK(std::equal(clean.begin() + matte, clean.end(), nothing.begin()));
            CHECK(std::equal(shadow.begin(), shadow.begin() + matte, nothing.begin()));
            CHECK(std::equal(shadow.begin() + matte, shadow.end(), both.begin() + matte));
        }
}

TEST_CASE("what a prior gives is the same to the bit for any number of threads") {
    const Restoring restoring(shadowed_photos(64, 48, 8).front(), 8, 2);
    for (const bool calibrated : {false, true}) {
        const std::vector<float> right = restoring.run({.calibrated = calibrated}, 1);
        for (const unsigned threads : {2u, 5u}) CHECK(restoring.run({.calibrated = calibrated}, threads) == right);
    }
}
