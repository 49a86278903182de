from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shadowdiffusion.runtime.gain.resizing import Enlarged, enlarged, reduced, reduced_to
from tests.runtime.tiny import picture


def test_enlarging_is_bilinear_with_aligned_centres() -> None:
    plane = np.array([[0, 1], [2, 3]], np.float32)
    assert np.array_equal(enlarged(plane, 2, 2), plane)
    assert np.allclose(enlarged(plane, 4, 4)[0], [0, 0.25, 0.75, 1])
    assert np.allclose(enlarged(plane, 4, 4)[:, 0], [0, 0.5, 1.5, 2])


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7), (2, 30, 3), (9, 1, 1)])
def test_strips_of_an_enlargement_are_those_of_the_whole(shape: tuple[int, ...]) -> None:
    field = np.random.default_rng(0).random(shape, np.float32)
    whole, strips = enlarged(field, 23, 41), Enlarged(field, 23, 41)
    assert whole.shape == (23, 41, *shape[2:])
    for top in range(0, 23, 5):
        assert np.array_equal(strips[top : min(top + 5, 23)], whole[top : top + 5])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3])
def test_reducing_keeps_the_mean_and_its_range(dtype: Any, channels: int) -> None:
    photo = picture(90, 120, dtype, channels)
    small = reduced(photo, 40)
    assert small.shape == (30, 40, channels)
    assert small.dtype == np.float32
    whole = 1 if np.dtype(dtype).kind == "f" else np.iinfo(dtype).max
    assert np.allclose(small.mean(axis=(0, 1)), (photo / whole).mean(axis=(0, 1)), atol=2e-3)
    assert np.allclose(reduced(photo, 500), np.atleast_3d(photo / whole), atol=1e-6)


@pytest.mark.parametrize(("size", "small"), [((1, 900), (1, 90)), ((900, 1), (90, 1)), ((3, 900), (1, 90))])
def test_strips_are_reduced_to_one_pixel_at_least(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert reduced(picture(*size), 90).shape == (*small, 3)


def test_reducing_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (64, 32))[..., None]
    assert np.abs(reduced_to(stripes, 16, 16) - 0.5).max() < 0.05
