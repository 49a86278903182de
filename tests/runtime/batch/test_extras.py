from __future__ import annotations

import numpy as np
import pytest

from shadowdiffusion.runtime.batch.extras import GAP, comparison, illumination_picture, mask_picture
from shadowdiffusion.runtime.photo import Photo
from tests.runtime.tiny import picture


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_before_and_after_side_by_side(dtype: type, channels: int) -> None:
    before, after = picture(5, 7, dtype, channels), picture(5, 7, dtype, channels, seed=1)
    icc = (1, b"profile")
    both = comparison(Photo(before, before, {"icc-profile-data": icc, "exif-data": (1, b"x")}), after)
    assert both.pixels.shape == (5, 14 + GAP, *before.shape[2:])
    assert np.array_equal(both.pixels[:, :7], before)
    assert np.array_equal(both.pixels[:, 7 + GAP :], after)
    assert (both.pixels[:, 7 : 7 + GAP] == np.iinfo(dtype).max).all()
    assert both.alpha is None
    assert both.metadata == {"icc-profile-data": icc}


def test_a_panorama_goes_above_the_restored_one() -> None:
    wide = np.zeros((2, 40000), np.uint8)
    assert comparison(Photo(wide), wide).pixels.shape == (4 + GAP, 40000)


def test_illumination_is_in_stops_around_the_middle() -> None:
    light = np.array([[[1, 1, 1], [0.5, 2, 1 / 128]]], np.float32)
    values = illumination_picture(light, 1, 2).pixels
    assert values.dtype == np.uint16
    assert values.tolist() == [[[32768] * 3, [32768 - 4096, 32768 + 4096, 32768 - 7 * 4096]]]
    assert np.allclose(2.0 ** ((values.astype(float) - 32768) / 4096), light)
    assert illumination_picture(light, 10, 20).pixels.shape == (10, 20, 3)
    extreme = np.array([[[2.0**-20, 2.0**20, 1]]], np.float32)
    assert illumination_picture(extreme, 1, 1).pixels.tolist() == [[[0, 65535, 32768]]]


def test_masks_are_8_bit() -> None:
    assert mask_picture(np.array([[0, 0.5, 1]], np.float32)).pixels.tolist() == [[0, 128, 255]]
