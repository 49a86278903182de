// Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): four random words per counter.
#pragma once

#include <array>
#include <cstdint>

namespace shadowdiffusion {

inline constexpr std::uint32_t PHILOX_MULTIPLIER_0 = 0xD2511F53, PHILOX_MULTIPLIER_1 = 0xCD9E8D57;
inline constexpr std::uint32_t PHILOX_WEYL_0 = 0x9E3779B9, PHILOX_WEYL_1 = 0xBB67AE85;
inline constexpr int PHILOX_ROUNDS = 10;

using Words = std::array<std::uint32_t, 4>;

// The plain form: what the vectorised one in noise.cpp is tested against.
constexpr Words philox(Words c, std::uint32_t k0, std::uint32_t k1) {
    for (int round = 0; round < PHILOX_ROUNDS; ++round) {
        const std::uint64_t product0 = std::uint64_t{c[0]} * PHILOX_MULTIPLIER_0;
        const std::uint64_t product1 = std::uint64_t{c[2]} * PHILOX_MULTIPLIER_1;
        const auto high0 = static_cast<std::uint32_t>(product0 >> 32), low0 = static_cast<std::uint32_t>(product0);
        const auto high1 = static_cast<std::uint32_t>(product1 >> 32), low1 = static_cast<std::uint32_t>(product1);
        c = {high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0};
        k0 += PHILOX_WEYL_0, k1 += PHILOX_WEYL_1;
    }
    return c;
}

}  // namespace shadowdiffusion
