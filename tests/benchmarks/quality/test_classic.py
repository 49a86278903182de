"""The classic corrections of exposure: what defines each of them holds, and no photo is impossible."""

from collections.abc import Callable

import numpy as np
import pytest
from skimage.color import rgb2hsv

from shadowdiffusion.benchmarks.quality.classic import MEAN, Pixels, clahe, gamma, histogram_equalisation
from shadowdiffusion.benchmarks.quality.lime import ALPHA, EPSILON, illumination, lime

METHODS = (gamma, histogram_equalisation, clahe, lime)


def _dark(height: int = 64, width: int = 96) -> Pixels:
    """A coloured gradient with some texture, as a photo with a sixth of its light."""
    rng = np.random.default_rng(0)
    slope = np.linspace(0.2, 1, width)[None, :, None] * np.array([1, 0.8, 0.6])
    return ((slope + rng.normal(0, 0.02, (height, width, 3))).clip(0, 1) * 255 / 6).astype(np.uint8)


def test_gamma_brings_the_mean_near_its_aim_and_keeps_the_order() -> None:
    for photo in (_dark(), 255 - _dark()):
        found = gamma(photo)
        assert found.mean() / 255 == pytest.approx(MEAN, abs=0.06)  # the mean of powers is not the power of the mean
        values, corrected = photo.ravel().astype(int), found.ravel().astype(int)
        assert (np.diff(corrected[np.argsort(values, kind="stable")])[np.diff(np.sort(values)) > 0] >= 0).all()


def test_gamma_by_hand() -> None:
    photo = np.full((2, 2, 3), 51, np.uint8)  # 0.2, to the power that makes it 0.45
    assert (gamma(photo) == round(0.45 * 255)).all()


def test_equalised_brightness_is_uniform_and_hue_is_kept() -> None:
    photo = _dark(200, 300)
    found = rgb2hsv(histogram_equalisation(photo))
    shares, _ = np.histogram(found[..., 2], bins=8, range=(0, 1))
    assert shares / shares.sum() == pytest.approx(np.full(8, 1 / 8), abs=0.04)
    assert np.abs(found[..., 0] - rgb2hsv(photo)[..., 0]).mean() < 0.01


def test_clahe_raises_local_contrast() -> None:
    photo = _dark(128, 128)
    found = clahe(photo)

    def contrast(image: Pixels) -> float:
        return float(image.max(-1).reshape(8, 16, 8, 16).std((1, 3)).mean())

    assert contrast(found) > 1.5 * contrast(photo)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_photos_do_no_harm(method: Callable[[Pixels], Pixels], value: int) -> None:
    photo = np.full((16, 20, 3), value, np.uint8)
    found = method(photo)
    assert found.shape == photo.shape
    assert found.dtype == np.uint8
    assert np.ptp(found.reshape(-1, 3), axis=0).max() == 0


def test_illumination_is_the_minimum_of_what_the_paper_minimises() -> None:
    first = np.random.default_rng(1).random((6, 7))
    found = illumination(first)

    def cost(light: np.ndarray) -> float:
        from scipy.ndimage import gaussian_filter

        total = np.square(light - first).sum()
        for axis in (0, 1):
            gradient = np.diff(first, axis=axis, append=np.take(first, [-1], axis))
            weights = 1 / (np.abs(gaussian_filter(gradient, 2)) + EPSILON) / (np.abs(gradient) + EPSILON)
            slope = np.diff(light, axis=axis, append=np.take(light, [-1], axis))
            total += ALPHA * (weights * slope**2).sum()
        return float(total)

    least = cost(found)
    assert least < cost(first)
    rng = np.random.default_rng(2)
    for _ in range(50):
        assert cost(found + rng.normal(0, 1e-3, found.shape)) > least


def test_lime_brightens_the_dark_side_more_and_keeps_edges() -> None:
    photo = np.full((40, 60, 3), (120, 110, 100), np.uint8)
    photo[:, :30] //= 8
    found = lime(photo).astype(int)
    ratio = found / photo
    assert ratio[:, :28].min() > 2 * ratio[:, 32:].max()
    assert ratio[:, 32:].min() >= 1
    inside = found[5:35, 5:25]
    assert np.ptp(inside.reshape(-1, 3), axis=0).max() <= 3  # no halo far from the edge


def test_a_single_row_has_an_illumination() -> None:
    assert illumination(np.array([[0.2, 0.4, 0.9]])).shape == (1, 3)
    assert illumination(np.array([[0.2], [0.4], [0.9]])).shape == (3, 1)
