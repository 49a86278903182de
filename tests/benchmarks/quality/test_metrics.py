"""Metrics against values computed by hand and against scikit-image."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from shadowdiffusion.benchmarks.quality.metrics import CEILING, quality

GREY = 119 / 255  # L* = 50.03 in sRGB
RED = 53.24 + 80.09 + 67.20  # |L*| + |a*| + |b*| of sRGB's red under D65


def _half() -> np.ndarray:
    mask = np.zeros((16, 16), bool)
    mask[:8] = True
    return mask


def test_constant_error() -> None:
    truth = np.full((16, 16, 3), 0.4)
    found = quality(truth + 10 / 255, truth, _half())
    assert found.whole.psnr == pytest.approx(20 * math.log10(255 / 10))
    assert found.shadow is not None
    assert found.lit is not None
    # half of the photo is black in both, which halves the mean squared error
    assert found.shadow.psnr == pytest.approx(found.whole.psnr + 10 * math.log10(2))
    assert found.shadow.lab == pytest.approx(found.lit.lab) == pytest.approx(found.whole.lab)
    assert (found.whole.pixels, found.shadow.pixels, found.lit.pixels) == (256, 128, 128)


def test_lab_error_is_split_by_the_mask_and_summed_over_the_channels() -> None:
    truth = np.zeros((16, 16, 3))
    result = truth.copy()
    result[_half()] = (1, 0, 0)
    found = quality(result, truth, _half())
    assert found.shadow is not None
    assert found.lit is not None
    assert found.shadow.lab == pytest.approx(RED, abs=0.05)
    assert found.lit.lab == 0
    assert found.whole.lab == pytest.approx(RED / 2, abs=0.05)
    assert quality(np.full_like(truth, GREY), truth, None).whole.lab == pytest.approx(50, abs=0.1)


def test_all_parts_agree_with_scikit_image_on_masked_photos() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((33, 40, 3))
    result = (truth + rng.normal(0, 0.1, truth.shape)).clip(0, 1)
    mask = rng.random((33, 40)) < 0.3
    found = quality(result, truth, mask)
    for part, inside in ((found.whole, np.ones_like(mask)), (found.shadow, mask), (found.lit, ~mask)):
        assert part is not None
        a, b = (np.where(inside[..., None], image, 0) for image in (truth, result))
        assert part.psnr == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1))
        assert part.ssim == pytest.approx(structural_similarity(a, b, channel_axis=-1, data_range=1))


def test_similarity_of_constants_by_hand() -> None:
    # no variance anywhere: SSIM = (2 a b + c1) / (a^2 + b^2 + c1) with c1 = 0.01^2
    found = quality(np.full((8, 8, 3), 0.5), np.full((8, 8, 3), 0.4), None)
    assert found.whole.ssim == pytest.approx((2 * 0.5 * 0.4 + 1e-4) / (0.25 + 0.16 + 1e-4), abs=1e-6)


def test_equal_photos() -> None:
    truth = np.random.default_rng(0).random((8, 8, 3))
    found = quality(truth, truth, np.ones((8, 8), bool))
    assert found.whole.psnr == CEILING
    assert found.whole.ssim == pytest.approx(1)
    assert found.shadow == found.whole
    assert found.lit is None


def test_without_a_mask_there_are_no_parts_and_tiny_photos_have_a_similarity() -> None:
    found = quality(np.zeros((4, 5, 3)), np.ones((4, 5, 3)), None)
    assert (found.shadow, found.lit) == (None, None)
    assert found.whole.psnr == 0
    assert found.whole.ssim < 0.01
