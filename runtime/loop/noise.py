"""Counter-based Gaussian noise: every pixel's value depends only on (seed, step, image, y, x).

Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) with counter (x, y,
step, image) and key (seed low, seed high), turned into normal deviates by Box-Muller in float32. Any backend
that follows this file produces the same stream, and a tile of an image gets the same noise as that region of
the whole.
"""

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import RestoreError

Words = npt.NDArray[np.uint32]

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = 0x9E3779B9
_WEYL_1 = 0xBB67AE85
_ROUNDS = 10


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Philox4x32-10: four uint32 words per counter. The counter words broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product0 = c0.astype(np.uint64) * _MULTIPLIER_0
        product1 = c2.astype(np.uint64) * _MULTIPLIER_1
        high0, low0 = (product0 >> np.uint64(32)).astype(np.uint32), product0.astype(np.uint32)
        high1, low1 = (product1 >> np.uint64(32)).astype(np.uint32), product1.astype(np.uint32)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint32(k0), low1, high0 ^ c3 ^ np.uint32(k1), low0
        k0, k1 = (k0 + _WEYL_0) & 0xFFFFFFFF, (k1 + _WEYL_1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def gaussian(
    height: int, width: int, *, seed: int, step: int, image: int = 0, top: int = 0, left: int = 0
) -> npt.NDArray[np.float32]:
    """Standard normal noise float32 [3, height, width] of the region whose first pixel is (top, left).

    step 0 is the initial state of the sampler, step i + 1 the fresh noise of its step i; `image` is the index
    within a batch. Raises RestoreError for a seed outside [0, 2**64).
    """
    check_seed(seed)
    x = np.arange(left, left + width, dtype=np.uint32)[None, :]
    y = np.arange(top, top + height, dtype=np.uint32)[:, None]
    r0, r1, r2, r3 = philox(
        (x, y, np.full((1, 1), step, np.uint32), np.full((1, 1), image, np.uint32)),
        (seed & 0xFFFFFFFF, seed >> 32),
    )
    noise = np.empty((3, height, width), np.float32)
    radius, angle = _radius(r0), _angle(r1)
    np.multiply(radius, np.cos(angle), out=noise[0])
    np.multiply(radius, np.sin(angle), out=noise[1])
    np.multiply(_radius(r2), np.cos(_angle(r3)), out=noise[2])
    return noise


def check_seed(seed: int) -> None:
    """Raise RestoreError for a seed outside [0, 2**64)."""
    if not 0 <= seed < 1 << 64:
        raise RestoreError(f"seed {seed} is out of range: choose one from 0 to 2**64 - 1")


def _uniform(words: Words) -> npt.NDArray[np.float32]:
    """uint32 -> float32 in (0, 1], from the upper 24 bits, so that the logarithm below is always finite."""
    return ((words >> np.uint32(8)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)


def _radius(words: Words) -> npt.NDArray[np.float32]:
    squared: npt.NDArray[np.float32] = np.float32(-2) * np.log(_uniform(words))
    return np.sqrt(np.abs(squared))  # abs: u = 1 gives -0


def _angle(words: Words) -> npt.NDArray[np.float32]:
    return np.float32(2 * np.pi) * _uniform(words)
