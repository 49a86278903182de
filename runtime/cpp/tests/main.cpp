// All tests of a program. With SHADOWDIFFUSION_TARGET, vector code runs on that target of Highway alone, such as AVX2, so that
// one machine proves them all; where the processor or the build lacks it, the program ends with SKIPPED.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "main.cpp"
#include <hwy/foreach_target.h>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace shadowdiffusion::HWY_NAMESPACE {

std::int64_t own_target() { return HWY_TARGET; }

}  // namespace shadowdiffusion::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shadowdiffusion {

HWY_EXPORT(own_target);

namespace {

constexpr int SKIPPED = 77;

std::int64_t chosen_target() { return HWY_DYNAMIC_DISPATCH(own_target)(); }

// Whether there is such a target here, which is then the only one.
bool keep_to(const std::string& name) {
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets())
        if (hwy::TargetName(target) == name) {
            hwy::SetSupportedTargetsForTest(target);
            return true;
        }
    return false;
}

}  // namespace

TEST_CASE("vector code runs on the target that is asked for, else on the best") {
    const char* asked = std::getenv("SHADOWDIFFUSION_TARGET");
    const auto here = hwy::SupportedAndGeneratedTargets();
    CHECK(chosen_target() == *std::ranges::min_element(here));  // lower ones are better
    if (asked) CHECK(hwy::TargetName(chosen_target()) == std::string(asked));
}

}  // namespace shadowdiffusion

int main(int count, char** words) {
    if (const char* asked = std::getenv("SHADOWDIFFUSION_TARGET"); asked && !shadowdiffusion::keep_to(asked)) {
        std::printf("skipped: there is no %s here\n", asked);
        return shadowdiffusion::SKIPPED;
    }
    return doctest::Context(count, words).run();
}
#endif
