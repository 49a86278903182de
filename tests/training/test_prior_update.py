"""The closed forms, checked by hand and against brute-force minimisation in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.prior_update import blend_coefficients, mask_update, rho_schedule

unit = st.floats(0.0, 1.0)
illuminations = st.floats(0.01, 4.0)
weights = st.floats(1e-3, 1e3)


def pixel(value: float, channels: int = 3) -> torch.Tensor:
    return torch.full((1, channels, 1, 1), value, dtype=torch.float64)


def blended(y: float, h: float, z: float, rho: float) -> float:
    a, b = blend_coefficients(pixel(y), pixel(h), rho)
    return float((a + b * z)[0, 0, 0, 0])


def test_one_pixel_by_hand() -> None:
    # In [0, 1]: y = 0.3, h = 0.5, z = 0.9 (0.8 in [-1, 1]), rho = 0.25:
    # x = (0.5 * 0.3 + 0.25 * 0.9) / (0.25 + 0.25) = 0.375 / 0.5 = 0.75, which is 0.5 in [-1, 1].
    assert blended(0.3, 0.5, 0.8, 0.25) == pytest.approx(0.5, abs=1e-15)
    # h = 1, rho = 0.2: the prior's 2 y - 1 = 0.4 has 1 / 1.2 of the weight, z = -0.2 the rest.
    assert blended(0.7, 1.0, -0.2, 0.2) == pytest.approx((0.4 - 0.2 * 0.2) / 1.2, abs=1e-15)


@given(unit, illuminations, st.floats(-2.0, 2.0))
def test_limits_of_rho(y: float, h: float, z: float) -> None:
    assert blended(y, h, z, 1e12) == pytest.approx(z, abs=1e-9)
    assert blended(y, h, z, 0.0) == pytest.approx(2.0 * y / h - 1.0, rel=1e-12, abs=1e-12)


@given(illuminations, weights, st.floats(-1.0, 1.0))
def test_weights_sum_to_one(h: float, rho: float, value: float) -> None:
    """If y / h and z agree, rho does not matter."""
    y = h * (value + 1.0) / 2.0
    assert blended(y, h, value, rho) == pytest.approx(value, abs=1e-12)


@given(unit, illuminations, st.floats(-2.0, 2.0), weights)
def test_update_minimises_the_objective(y: float, h: float, z: float, rho: float) -> None:
    def slope(x: float) -> float:  # of 1/2 (y - h x)^2 + rho/2 (x - z)^2 in [0, 1] units
        return -h * (y - h * x) + rho * (x - (z + 1.0) / 2.0)

    x = (blended(y, h, z, rho) + 1.0) / 2.0
    assert slope(x) == pytest.approx(0.0, abs=1e-9 * (1.0 + rho + h * h))


def test_half_precision_survives_a_black_pixel() -> None:
    y, h = torch.zeros(1, 3, 1, 1, dtype=torch.float16), torch.full((1, 3, 1, 1), 1e-4, dtype=torch.float16)
    a, b = blend_coefficients(y, h, 0.2)
    assert torch.isfinite(a).all()
    assert torch.isfinite(b).all()


@pytest.mark.parametrize("rho", [-0.1, math.inf, math.nan])
def test_bad_rho_is_refused(rho: float) -> None:
    with pytest.raises(TrainingError, match="rho"):
        blend_coefficients(pixel(0.5), pixel(0.5), rho)
    with pytest.raises(TrainingError, match="rho"):
        mask_update(pixel(0.5), pixel(0.5, 1), pixel(1.0, 1), rho)


def test_mask_by_hand() -> None:
    # Two pixels: the left one is surely shadow with h = 0.4, the right one lit with h = 0.85.
    h = torch.tensor([0.4, 0.85], dtype=torch.float64).expand(1, 3, 1, 2)
    mask = torch.tensor([1.0, 0.0], dtype=torch.float64).view(1, 1, 1, 2)
    v = torch.tensor([0.5, 0.5], dtype=torch.float64).view(1, 1, 1, 2)
    # w = 0.4, so per channel (1 - w)(1 - h) = 0.36 and 0.09, (1 - w)^2 = 0.36; rho = 0.42.
    # left: (1.08 + 0.21) / (1.08 + 0.42) = 0.86; right: (0.27 + 0.21) / 1.5 = 0.32.
    result = mask_update(h, v, mask, 0.42)
    torch.testing.assert_close(result.flatten(), torch.tensor([0.86, 0.32], dtype=torch.float64), rtol=0, atol=1e-14)


def test_mask_follows_the_head_for_large_rho_and_without_sure_shadow() -> None:
    generator = torch.Generator().manual_seed(0)
    h = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64) + 0.01
    v = torch.rand(2, 1, 4, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(mask_update(h, v, torch.ones_like(v), 1e12), v, rtol=0, atol=1e-10)
    torch.testing.assert_close(mask_update(h, v, torch.full_like(v, 0.5), 0.2), v, rtol=0, atol=1e-15)


def test_mask_minimises_its_objective_within_the_unit_interval() -> None:
    generator = torch.Generator().manual_seed(1)
    h = torch.rand(1, 3, 3, 4, generator=generator, dtype=torch.float64) * 1.4
    v = torch.rand(1, 1, 3, 4, generator=generator, dtype=torch.float64)
    mask = (torch.rand(1, 1, 3, 4, generator=generator, dtype=torch.float64) > 0.4).double()
    w = torch.stack([h[0, c][mask[0, 0] == 1].mean() for c in range(3)]).view(1, 3, 1, 1)
    grid = torch.linspace(0.0, 1.0, 100_001, dtype=torch.float64).view(-1, 1, 1, 1)
    for row in range(3):
        for column in range(4):
            here = (slice(None), slice(None), slice(row, row + 1), slice(column, column + 1))
            cost = ((1 - h[here] - (1 - w) * grid) ** 2).sum(dim=1, keepdim=True) + 0.2 * (grid - v[here]) ** 2
            best = float(grid.flatten()[cost.flatten().argmin()])
            assert float(mask_update(h, v, mask, 0.2)[here]) == pytest.approx(best, abs=2e-5)


def test_rho_schedules() -> None:
    assert rho_schedule(0.2, "constant", 7.0, 3) == [0.2, 0.2, 0.2]
    assert rho_schedule(0.2, "geometric", 1.5, 3) == pytest.approx([0.2, 0.3, 0.45])
    assert rho_schedule(0.2, "linear", 0.15, 4) == pytest.approx([0.2, 0.35, 0.5, 0.65])
    assert rho_schedule(0.0, "constant", 1.0, 1) == [0.0]


@pytest.mark.parametrize(
    "arguments",
    [
        (0.2, "cosine", 1.0, 3),
        (-0.2, "constant", 1.0, 3),
        (0.2, "linear", -0.15, 3),
        (1.0, "geometric", 1e200, 3),
    ],
)
def test_bad_rho_schedules_are_refused(arguments: tuple[float, str, float, int]) -> None:
    with pytest.raises(TrainingError, match="rho schedule"):
        rho_schedule(*arguments)
