"""Synthetic shadows: physics, ranges, determinism."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowdiffusion.training.camera import to_linear
from shadowdiffusion.training.shadows import (
    ShadowConfig,
    camera,
    cast_shadow,
    drawn_mask,
    illumination_weight,
    penumbra,
)
from shadowdiffusion.training.silhouettes import FAMILIES, Family, Grid, capsule, draw, smooth_noise

CLEAN = np.full((48, 64, 3), 0.5, np.float32)


@pytest.mark.parametrize("family", [f for f, _ in FAMILIES], ids=lambda f: f.__name__)
def test_every_family_is_a_finite_field_of_the_grids_shape(family: Family) -> None:
    for seed in range(6):
        distance = family(np.random.default_rng(seed), Grid.of(33, 50))
        assert distance.shape == (33, 50)
        assert np.isfinite(distance).all()


def test_draw_covers_a_sensible_part() -> None:
    shares = [float((draw(np.random.default_rng(s), Grid.of(48, 48)) < 0).mean()) for s in range(40)]
    assert min(shares) > 0
    assert max(shares) < 0.86
    assert np.std(shares) > 0.05


def test_capsule_is_a_distance() -> None:
    grid = Grid.of(101, 101)
    distance = capsule(grid, 0, 0, 0, 0, 0.2, 0.2)
    assert distance[50, 50] == pytest.approx(-0.2, abs=0.01)
    assert distance[50, 90] == pytest.approx(40 / 101 - 0.2, abs=0.01)


@given(st.integers(0, 2**32), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_noise_stays_in_range(seed: int, cells: int) -> None:
    noise = smooth_noise(np.random.default_rng(seed), (17, 40), cells)
    assert noise.shape == (17, 40)
    assert np.abs(noise).max() <= 1


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_weights_stay_in_the_measured_range(seed: int) -> None:
    config = ShadowConfig()
    weight = illumination_weight(np.random.default_rng(seed), config, (16, 16))
    assert weight.min() >= 0.02
    assert weight.max() <= 0.97
    ratio = (weight[..., 2] / weight[..., 0]).mean()
    assert 0.8 < ratio < config.bluest * 1.1


def test_blue_shadows_occur_and_deep_ones_are_bluer() -> None:
    config = ShadowConfig(blue_share=1.0)
    weights = np.array([illumination_weight(np.random.default_rng(s), config, (1, 1))[0, 0] for s in range(300)])
    ratio, deep = weights[:, 2] / weights[:, 0], weights[:, 0] < 0.2
    assert ratio.max() > 1.6
    assert ratio[deep].mean() > ratio[~deep].mean()


def test_penumbra_is_a_matte_that_follows_the_distance() -> None:
    distance = np.tile(np.linspace(-0.5, 0.5, 65, dtype=np.float32), (9, 1))
    for soft in (0.0, 1.0):
        check_penumbra(penumbra(np.random.default_rng(3), distance, 1 / 65, soft))


def check_penumbra(matte: np.ndarray) -> None:
    assert (np.diff(matte) <= 1e-6).all()
    assert matte[:, 0].min() == 1
    assert matte[:, -1].max() == 0
    assert matte[4, 32] == pytest.approx(0.5, abs=1e-3)


def test_camera_multiplies_in_linear_light() -> None:
    """Without noise, JPEG and another tone curve: linear light times w, then sRGB, within 8-bit rounding."""

    photo = camera(SrgbOnly(), CLEAN, np.full_like(CLEAN, 0.25), ShadowConfig(veil=0.0))  # type: ignore[arg-type]
    expected = 1.055 * (0.2140411 * 0.25) ** (1 / 2.4) - 0.055
    assert np.abs(photo - expected).max() <= 0.5 / 255 + 1e-6


def test_shadows_leave_the_veil_alone() -> None:
    """Of light x in red, 0.25 (x - v) + v is left; light below the veil stays as it is."""
    photos = []
    for value in (0.5, 0.02):
        photo = camera(SrgbOnly(), CLEAN * 2 * value, np.full_like(CLEAN, 0.25), ShadowConfig(veil=0.01))  # type: ignore[arg-type]
        photos.append(to_linear(photo[..., 0]))
    assert photos[0] == pytest.approx(0.2140411 * 0.25 + 0.01 * 0.75, abs=2e-3)
    assert photos[1] == pytest.approx(0.02 / 12.92, abs=2e-4)


class SrgbOnly:
    """Draws no other tone curve, no noise, no JPEG, and the largest veil."""

    def random(self) -> float:
        return 0.9

    def uniform(self, low: float, high: float) -> float:
        return high

    def standard_normal(self, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        return np.zeros(shape, dtype)


def test_shadow_only_darkens_inside_its_matte() -> None:
    config = ShadowConfig(noise=0.0, jpeg=0.0, none=0.0)
    for seed in range(20):
        pair = cast_shadow(np.random.default_rng(seed), CLEAN, config)
        lit = pair.matte == 0
        assert np.abs(pair.degraded - pair.clean)[lit].max(initial=0) <= 1 / 255
        assert (pair.degraded <= pair.clean + 1 / 255).all()
        assert pair.degraded.dtype == np.float32


def test_no_shadow_and_unknown_mask_follow_their_probabilities() -> None:
    none = cast_shadow(np.random.default_rng(0), CLEAN, ShadowConfig(none=1.0))
    assert none.matte.max() == 0
    matte = np.zeros((8, 8), np.float32)
    assert (drawn_mask(np.random.default_rng(0), ShadowConfig(unknown_mask=1.0), matte) == 0.5).all()
    known = drawn_mask(np.random.default_rng(0), ShadowConfig(unknown_mask=0.0), matte)
    assert (known == 0).all()


def test_masks_err_on_both_sides_of_the_edge() -> None:
    matte = np.tile(np.linspace(1, 0, 64, dtype=np.float32), (64, 1))
    config = ShadowConfig(unknown_mask=0.0)
    sizes = [drawn_mask(np.random.default_rng(s), config, matte).mean() for s in range(60)]
    assert min(sizes) < 0.35
    assert max(sizes) > 0.65
