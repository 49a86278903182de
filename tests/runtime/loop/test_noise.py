from __future__ import annotations

import numpy as np
import pytest

from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.loop.noise import gaussian, philox


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_published_vectors(
    counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    c0, c1, c2, c3 = (np.array([word], np.uint32) for word in counter)
    assert tuple(int(word[0]) for word in philox((c0, c1, c2, c3), key)) == expected


def test_noise_is_standard_normal_and_uncorrelated_between_channels() -> None:
    noise = gaussian(400, 500, seed=1, step=0)
    assert noise.dtype == np.float32
    assert noise.shape == (3, 400, 500)
    assert np.isfinite(noise).all()
    assert np.abs(noise.mean((1, 2))).max() < 0.01
    assert np.abs(noise.std((1, 2)) - 1).max() < 0.01
    assert np.abs(np.corrcoef(noise.reshape(3, -1)) - np.eye(3)).max() < 0.01
    assert 4 < np.abs(noise).max() < 6


def test_a_tile_gets_the_noise_of_its_place_in_the_whole() -> None:
    whole = gaussian(40, 60, seed=9, step=3, image=2)
    tile = gaussian(11, 13, seed=9, step=3, image=2, top=7, left=21)
    assert np.array_equal(tile, whole[:, 7:18, 21:34])


def test_every_part_of_the_counter_and_key_matters() -> None:
    base = gaussian(4, 4, seed=0, step=0)
    others = [
        gaussian(4, 4, seed=1, step=0),
        gaussian(4, 4, seed=1 << 32, step=0),
        gaussian(4, 4, seed=0, step=1),
        gaussian(4, 4, seed=0, step=0, image=1),
    ]
    assert all(not np.array_equal(base, other) for other in others)
    assert np.array_equal(base, gaussian(4, 4, seed=0, step=0))


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(RestoreError, match=str(seed)):
        gaussian(1, 1, seed=seed, step=0)
