#include <doctest/doctest.h>

#include <cstdlib>

#include "backends/onnxruntime_opening.h"
#include "forking.h"

using namespace shadowdiffusion;

namespace {

// What the library found, in a process that has not loaded it before.
bool found(const char* said, int expected) {
    return in_child([&] {
               ::setenv("SHADOWDIFFUSION_ONNXRUNTIME", FAKE_ONNXRUNTIME, 1);
               if (said)
                   ::setenv("ORT_DISABLE_TELEMETRY", said, 1);
               else
                   ::unsetenv("ORT_DISABLE_TELEMETRY");
               return *static_cast<int*>(open_onnxruntime().find("telemetry_is_off")) == expected;
           }) == 0;
}

}  // namespace

TEST_CASE("the telemetry of ONNX Runtime is off before its library is loaded, unless the user has said something") {
    CHECK(found(nullptr, 1));
    CHECK(found("0", 0));
    CHECK(found("1", 1));
}
