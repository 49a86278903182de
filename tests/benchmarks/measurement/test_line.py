"""Lines through costs, and what is no line."""

from __future__ import annotations

import pytest

from shadowdiffusion.benchmarks.measurement.line import fit


def test_a_line_is_found_with_what_is_paid_anyway() -> None:
    found = fit([1, 2, 4, 8], [13, 16, 22, 34])
    assert found is not None
    assert [found.slope, found.intercept, found.r2] == pytest.approx([3, 10, 1])
    assert found.growth == pytest.approx(34 / 8 / (22 / 4))
    assert not found.superlinear


def test_growth_beyond_a_line_is_flagged() -> None:
    assert fit([1, 2, 4], [1, 4, 16]).superlinear  # type: ignore[union-attr]
    assert fit([4, 2, 1], [16, 4, 1]).superlinear  # type: ignore[union-attr]
    assert not fit([1, 2, 4], [1, 2, 4.3]).superlinear  # type: ignore[union-attr]
    assert fit([1, 2, 4], [1, 2, 4.5]).superlinear  # type: ignore[union-attr]


def test_equal_costs_are_a_flat_line() -> None:
    found = fit([1, 2, 3], [250, 250, 250])
    assert found is not None
    assert [found.slope, found.intercept, found.r2] == pytest.approx([0, 250, 1], abs=1e-9)


def test_two_points_are_too_few() -> None:
    assert fit([1, 2, 2], [1, 2, 3]) is None
