// The second restoration of photos of one size allocates nothing outside of the networks.
#include <doctest/doctest.h>

#include "allocations.h"
#include "bundle/bundle.h"
#include "fake_networks.h"

using namespace shadowdiffusion;

TEST_CASE("after the first photo of a size, nothing is allocated") {
    const auto restorer = fake_restorer(load_folder(BUNDLES "/shadow"));
    Pixels photo, mask;
    photo.shape(PixelType::uint8, 900, 1201, 3);
    mask.shape(PixelType::uint8, 900, 1201, 1);
    for (std::size_t i = 0; i < photo.bytes.size(); ++i) photo.bytes[i] = static_cast<std::byte>(i % 251);
    for (std::size_t i = 0; i < mask.bytes.size(); ++i) mask.bytes[i] = static_cast<std::byte>(i % 2 * 255);
    Options options;
    options.with_prior = true;
    options.steps = 3;
    options.progress = [](int, int) { return true; };
    const ImageView view = photo.view(), mask_view = mask.view();
    Restored result;
    for (const ImageView* given : {static_cast<const ImageView*>(nullptr), &mask_view}) {
        restorer->restore(view, given, options, result);
        const std::size_t before = allocations();
        restorer->restore(view, given, options, result);
        CHECK(allocations() == before);
    }
    CHECK(allocations() > 0);
}
