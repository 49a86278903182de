// Each instruction set of Highway that the kernels are compiled for and this processor has.
#pragma once

#include <doctest/doctest.h>
#include <hwy/targets.h>

#include <cstdint>
#include <string>

// test() once for each, while the kernels run on that one.
template <class Test>
void on_every_target(const Test& test) {
    struct Restore {
        ~Restore() { hwy::SetSupportedTargetsForTest(0); }
    } restore;
    for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
        hwy::SetSupportedTargetsForTest(target);
        CAPTURE(std::string(hwy::TargetName(target)));
        test();
    }
}
