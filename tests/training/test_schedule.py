"""The beta schedule against numbers found by other means."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.schedule import DiffusionConfig, alpha_bars, betas


def test_beta_endpoints_and_spacing() -> None:
    values = betas(DiffusionConfig())
    assert values.dtype == torch.float64
    assert len(values) == 1000
    assert values[0].item() == 1e-4
    assert values[-1].item() == 0.02
    torch.testing.assert_close(values.diff(), torch.full((999,), 0.0199 / 999, dtype=torch.float64), rtol=1e-9, atol=0)


def test_alpha_bar_by_exact_arithmetic() -> None:
    """The first 201 products in rational numbers, then the known values of the standard DDPM schedule."""
    product, exact = Fraction(1), {}
    for t in range(201):
        product *= 1 - (Fraction(1, 10_000) + Fraction(199, 10_000) * Fraction(t, 999))
        exact[t] = product
    values = alpha_bars(DiffusionConfig())
    for t in (0, 1, 100, 200):
        assert values[t].item() == pytest.approx(float(exact[t]), rel=1e-13)
    # z divides by sqrt(abar): 25.8 at t = 800, the first step of five.
    assert values[800].rsqrt().item() == pytest.approx(25.8, abs=0.05)
    assert values[999].item() == pytest.approx(4.0358e-5, rel=1e-4)


@given(st.integers(1, 300), st.floats(1e-6, 0.01), st.floats(0.0, 0.5))
def test_alpha_bar_decreases_within_the_unit_interval(count: int, start: float, rise: float) -> None:
    values = alpha_bars(DiffusionConfig(count, start, start + rise))
    assert len(values) == count
    assert values[0].item() == pytest.approx(1.0 - start)
    assert (values.diff() < 0).all()
    assert (values > 0).all()
    assert (values < 1).all()


def test_default_dtype_does_not_leak_in() -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float16)
    try:
        assert alpha_bars(DiffusionConfig()).dtype == torch.float64
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("arguments", [(0,), (10, 0.0, 0.1), (10, 0.2, 0.1), (10, 0.1, 1.0)])
def test_impossible_schedules_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(TrainingError):
        DiffusionConfig(*arguments)  # type: ignore[arg-type]
