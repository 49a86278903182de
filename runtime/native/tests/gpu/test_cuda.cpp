#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdlib>

#include "errors.h"
#include "gpu/cuda.h"
#include "gpu/cuda_graph.h"
#include "gpu/fake_driver.h"
#include "gpu/tensor_types.h"

using namespace shadowdiffusion;

TEST_CASE("the first GPU, in words") {
    {
        const Cuda cuda;
        CHECK(cuda.gpu().sm == 90);
        CHECK(cuda.gpu().title().starts_with("Imaginary 90, SM 90, driver "));
    }
    fake_driver().reset();
}

TEST_CASE("without a driver or a GPU, one line says so") {
    fake_driver().refused["cuInit"] = 100;
    CHECK_THROWS_WITH_AS(Cuda(), "the GPU cannot be used: cuInit failed with error 100; use a CPU backend", RestoreError);
    fake_driver().refused = {{"cuStreamCreate", 2}};
    CHECK_THROWS_WITH_AS(Cuda(), "the GPU cannot be used: cuStreamCreate failed with CUDA_ERROR_OUT_OF_MEMORY; use a CPU backend",
                         RestoreError);
    fake_driver().reset();
    const std::string named = std::getenv("SHADOWDIFFUSION_CUDA_DRIVER");
    ::setenv("SHADOWDIFFUSION_CUDA_DRIVER", "/nowhere/libcuda.so.1", 1);
    CHECK_THROWS_WITH_AS(Cuda(),
                         "the NVIDIA driver is missing (/nowhere/libcuda.so.1: cannot open shared object file: No such file or "
                         "directory): use a CPU backend",
                         RestoreError);
    ::setenv("SHADOWDIFFUSION_CUDA_DRIVER", named.c_str(), 1);
}

TEST_CASE("work waits for its stream, and a graph repeats what was recorded") {
    {
        const Cuda cuda;
        const Cuda::Scope scope(cuda);
        const DeviceBuffer buffer(cuda, 64);
        std::array<float, 4> host{};
        const auto bytes = std::as_writable_bytes(std::span(host));
        cuda.fill(buffer.address(), 2.5f, 4);
        cuda.download(bytes, buffer.address());
        CHECK(host[0] == 0);
        cuda.synchronize();
        CHECK(host == std::array{2.5f, 2.5f, 2.5f, 2.5f});
        const RecordedGraph graph(cuda, [&] { cuda.copy(buffer.address(), buffer.address() + 8, 8); });
        host = {1, 2, 3, 4};
        cuda.upload(buffer.address(), bytes);
        graph.launch();
        cuda.download(bytes, buffer.address());
        cuda.synchronize();
        CHECK(host == std::array{3.0f, 4.0f, 3.0f, 4.0f});
        CHECK_THROWS_AS(RecordedGraph(cuda, [] { throw RestoreError("no"); }), RestoreError);
        CHECK_THROWS_AS(RecordedGraph(cuda, [&] { cuda.synchronize(); }), RestoreError);
        cuda.synchronize();  // the stream takes plain work again
    }
    fake_driver().reset();
}

TEST_CASE("floats are rounded to halves and bfloats to the nearest, ties to even") {
    CHECK(half_of(1.0f) == 0x3C00);
    CHECK(half_of(-2.5f) == 0xC100);
    CHECK(half_of(65519.0f) == 0x7BFF);
    CHECK(half_of(65520.0f) == 0x7C00);
    CHECK(half_of(0x1p-24f) == 0x0001);
    CHECK(half_of(0x1p-25f) == 0x0000);
    CHECK(half_of(0x1.8p-24f) == 0x0002);
    CHECK(half_of(0x1.ff8p-15f) == 0x03FF);
    CHECK(half_of(1 + 0x1p-11f) == 0x3C00);
    CHECK(half_of(1 + 0x1.8p-10f) == 0x3C02);
    CHECK(half_of(-0.0f) == 0x8000);
    CHECK((half_of(std::nanf("")) & 0x7FFF) == 0x7E00);
    CHECK(bfloat_of(1.0f) == 0x3F80);
    CHECK(bfloat_of(1 + 0x1p-8f) == 0x3F80);
    CHECK(bfloat_of(1 + 0x1.8p-7f) == 0x3F82);
    CHECK(bfloat_of(std::nanf("")) == 0x7FC0);
}
