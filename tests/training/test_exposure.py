"""Synthetic wrong exposure: what is well exposed, physics of the camera, ranges, determinism."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from shadowdiffusion.training.camera import Curve, to_linear, to_srgb
from shadowdiffusion.training.datasets import CropConfig, SyntheticPairs, read_photo
from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.exposure import ExposureConfig, camera_curve, misexpose, well_exposed
from shadowdiffusion.training.metrics import ssim

PHOTOS = Path(__file__).parents[1] / "data" / "photos" / "train"
PHOTO = read_photo(PHOTOS / "budgie_0010.jpg")[:96, :128].astype(np.float32) / np.float32(255)
QUIET = {"noise": 0.0, "cast": 0.0, "jpeg": 0.0, "mean_spread": 0.0}


@pytest.mark.parametrize("curve", [Curve(), Curve(2.2), Curve(0.0, 6.0), Curve(2.6, 4.0, 0.8), Curve(1.9, 1.0, 0.5)])
def test_curves_invert(curve: Curve) -> None:
    pixels = np.linspace(0, 1, 3 * 257, dtype=np.float32).reshape(1, 257, 3)
    light = curve.decode(pixels)
    assert light.min() == pytest.approx(0, abs=1e-6)
    assert light.max() == pytest.approx(curve.white, rel=1e-4)
    assert (np.diff(light.reshape(-1)) > 0).all()
    assert np.abs(curve.encode(light) - pixels).max() < 2e-3
    assert curve.encode(2 * light).max() == pytest.approx(1)  # what exceeds white clips


def test_a_plain_curve_is_srgb() -> None:
    pixels = np.linspace(0, 1, 51, dtype=np.float32)
    assert Curve().decode(pixels) == pytest.approx(to_linear(pixels), abs=1e-6)
    assert to_srgb(to_linear(pixels)) == pytest.approx(pixels, abs=1e-6)
    assert to_linear(np.array([0.5], np.float32)) == pytest.approx([0.21404], abs=1e-5)


@given(st.integers(0, 2**32), st.floats(0.2, 3.0))
@settings(max_examples=25, deadline=None)
def test_every_photo_is_brought_to_the_configured_brightness(seed: int, exponent: float) -> None:
    """Whatever the photo's own exposure: the network can only learn an absolute brightness from constant ones."""
    clean = well_exposed(np.random.default_rng(seed), PHOTO ** np.float32(exponent), ExposureConfig(mean_spread=0.0))
    assert float(clean.mean()) == pytest.approx(0.46, abs=0.02)
    assert clean.min() >= 0
    assert clean.max() <= 1


def test_brightness_and_contrast_spread_over_photos() -> None:
    config = ExposureConfig()
    clean = [well_exposed(np.random.default_rng(i), PHOTO, config) for i in range(60)]
    means = np.array([c.mean() for c in clean])
    assert means.mean() == pytest.approx(0.46, abs=0.03)
    assert means.std() == pytest.approx(0.05, abs=0.015)
    assert np.std([c.std() for c in clean]) > 0.02


@pytest.mark.parametrize("ev", [-5.0, -3.0, -1.0, 1.0, 3.0])
def test_light_is_multiplied(ev: float) -> None:
    """Without noise and cast, a camera with the sRGB curve shows 2^EV of the light, clipped."""
    config = ExposureConfig(darkest=ev, brightest=ev, **QUIET)
    plain = next(s for s in range(99) if _curve_of(s, config) == Curve())
    pair = misexpose(np.random.default_rng(plain), PHOTO, config)
    expected = to_srgb(np.minimum(to_linear(pair.clean) * np.float32(2**ev), 1))
    assert np.abs(pair.degraded - expected).max() < 0.51 / 255 + 2e-4
    assert (pair.mask == 1).all()
    assert (pair.matte == 1).all()


def _curve_of(seed: int, config: ExposureConfig) -> Curve:
    rng = np.random.default_rng(seed)
    well_exposed(rng, PHOTO, config)
    return camera_curve(rng)


def test_too_dark_and_too_bright() -> None:
    for config, change in (
        (ExposureConfig(darkest=-4, brightest=-2), -1),
        (ExposureConfig(darkest=1.5, brightest=3), 1),
    ):
        for seed in range(12):
            pair = misexpose(np.random.default_rng(seed), PHOTO, config)
            assert change * float((pair.degraded - pair.clean).mean()) > 0.05


def test_noise_is_worst_in_the_dark() -> None:
    """Relative to the light that is left: the error after the light is given back grows with the darkness."""

    def error(ev: float) -> float:
        quiet = {**QUIET, "noise": 0.03}
        config = ExposureConfig(darkest=ev, brightest=ev, **quiet)
        seeds = [s for s in range(120) if _curve_of(s, config) == Curve()][:20]
        errors = []
        for seed in seeds:
            pair = misexpose(np.random.default_rng(seed), PHOTO, config)
            errors.append(np.abs(to_linear(pair.degraded) * 2**-ev - to_linear(pair.clean)).mean())
        return float(np.mean(errors))

    assert error(-4.0) > 2 * error(-2.0) > 2 * error(-0.5)


def test_samples_are_a_function_of_seed_and_index() -> None:
    crop = CropConfig(size=32, smallest_side=32, largest_side=64)
    a, b = (SyntheticPairs(PHOTOS, 3, crop, ExposureConfig()) for _ in range(2))
    for index in (4, 0):
        x, y = a.sample(index), b.sample(index)
        assert all(torch.equal(x[key], y[key]) for key in x)  # type: ignore[literal-required]
        assert x["image"].shape == (3, 32, 32)
        assert float(x["mask"].min()) == 1
    assert not torch.equal(a.sample(0)["image"], a.sample(1)["image"])


def test_ssim_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((24, 31, 3), dtype=np.float32)
    b = np.clip(a * 0.7 + 0.2 * rng.random(a.shape, dtype=np.float32), 0, 1)
    x, y = (torch.from_numpy(picture.transpose(2, 0, 1).copy())[None] for picture in (a, b))
    expected = structural_similarity(a, b, channel_axis=2, data_range=1.0)
    assert float(ssim(x, y)) == pytest.approx(expected, abs=1e-4)
    assert float(ssim(x, x)) == pytest.approx(1)
    with pytest.raises(TrainingError, match="at least 7 x 7"):
        ssim(torch.rand(1, 3, 6, 9), torch.rand(1, 3, 6, 9))
