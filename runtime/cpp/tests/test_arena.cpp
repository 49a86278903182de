#include <doctest/doctest.h>

#include <cstdint>

#include "arena.h"

using shadowdiffusion::Arena;

TEST_CASE("memory is aligned, apart, and comes back where a scope ends") {
    Arena arena;
    const auto first = arena.take<float>(3);
    float* second = nullptr;
    {
        const Arena::Scope scope(arena);
        second = arena.take<float>(5).data();
        CHECK(reinterpret_cast<std::uintptr_t>(second) % 64 == 0);
        CHECK(second >= first.data() + first.size());
    }
    CHECK(arena.take<char>(1).data() == reinterpret_cast<char*>(second));
}

TEST_CASE("several blocks become one that has room for all") {
    Arena arena;
    {
        const Arena::Scope scope(arena);
        for (int i = 0; i < 5; ++i) arena.take<char>(3 << 20);
    }
    arena.settle();
    const std::size_t held = arena.held();
    CHECK(held >= std::size_t{15} << 20);
    CHECK(held < std::size_t{17} << 20);
    const Arena::Scope scope(arena);
    for (int i = 0; i < 5; ++i) arena.take<char>(3 << 20);
    CHECK(arena.held() == held);
}

TEST_CASE("after a large photo, small ones do not keep its memory for ever") {
    Arena arena;
    {
        const Arena::Scope scope(arena);
        arena.take<char>(64 << 20);
    }
    arena.settle();
    {
        const Arena::Scope scope(arena);
        arena.take<char>(1 << 20);
    }
    arena.settle();
    CHECK(arena.held() <= std::size_t{1} << 20);
}
