#include <doctest/doctest.h>

#include "errors.h"
#include "gpu/cuda_kernels.h"
#include "gpu/fake_driver.h"
#include "gpu/grid_rule.h"
#include "gpu/records.h"

using namespace shadowdiffusion;

namespace {

std::optional<std::int64_t> value(std::string_view name) {
    if (name == "plane") return 1000;
    if (name == "images") return 2;
    return {};
}

}  // namespace

TEST_CASE("grid rules are computed, and nothing else is accepted") {
    for (const auto& [rule, expected] : std::vector<std::pair<const char*, unsigned>>{{"1", 1},
                                                                                     {"images", 2},
                                                                                     {"3 * images", 6},
                                                                                     {"ceil(plane / 512)", 2},
                                                                                     {"ceil(plane / 500)", 2},
                                                                                     {"ceil(plane / 512) * images", 4},
                                                                                     {"ceil(plane / 3 / 7 * 2)", 96},
                                                                                     {"ceil( ceil( plane/512 ) / images )", 1}})
        CHECK(programs(rule, value) == expected);
    for (const char* rule : {"", "plane / 3", "0", "width", "plane / 0", "-1", "ceil(plane", "plane)", "2 plane", "plane ** 2",
                             "__import__(1)", "99999999999", "99999999999999999999999", "plane * plane * plane * plane"})
        CHECK_THROWS_WITH_AS(programs(rule, value),
                             (std::string("the grid rule '") + rule + "' of a kernel cannot be followed: build the bundle's kernels again").c_str(),
                             BundleError);
    std::string deep;
    for (int i = 0; i < 100'000; ++i) deep += "ceil(";
    CHECK_THROWS_AS(programs(deep, value), BundleError);
}

TEST_CASE("parameters are aligned to their size") {
    const std::vector<KernelArgument> arguments = {{"a", "*fp32", 16}, {"n", "i32", 1}, {"b", "*fp16", 16}, {"m", "i32", 1}, {"l", "i32", 1}, {"w", "i64", 1}};
    const ParameterList list = parameter_list(arguments);
    CHECK(list.offsets == std::vector<std::size_t>{0, 8, 16, 24, 28, 32});
    CHECK(list.size == 40);
    const std::vector<KernelArgument> unknown = {{"scale", "fp64", 1}};
    CHECK_THROWS_WITH_AS(parameter_list(unknown), "a kernel of the bundle takes a type unknown here (fp64): upgrade shadowdiffusion",
                         BundleError);
}

TEST_CASE("arguments that are not those of the record are refused") {
    {
        const TemporaryFolder place;
        const Bundle bundle = device_bundle(place, {});
        const Cuda cuda;
        const Cuda::Scope scope(cuda);
        CudaKernels kernels(bundle, cuda);
        const std::vector<Argument> few = {{"mask", 256}}, odd = {{"mask", 257}};
        const std::string takes = "mask, matte, threshold, plane, matte_image, global_scratch, profile_scratch";
        CHECK_THROWS_WITH_AS(kernels.launch("confident_mask_fp32", 1, few),
                             ("kernel confident_mask_fp32 takes " + takes + ", not mask: build the bundle's kernels again").c_str(),
                             BundleError);
        CHECK_THROWS_AS(kernels.launch("confident_mask_fp32", 1, odd), RestoreError);
        CHECK_THROWS_AS(kernels.launch("no_such_kernel", 1, few), RestoreError);
    }
    fake_driver().reset();
}
