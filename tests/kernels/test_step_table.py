"""The schedule table in device memory."""

from __future__ import annotations

import math

import pytest

from shadowdiffusion.kernels import step_table as table
from shadowdiffusion.kernels.errors import KernelError
from shadowdiffusion.runtime.loop import sampler as runtime_sampler
from shadowdiffusion.training import sampler
from shadowdiffusion.training.schedule import DiffusionConfig


def steps(**options: object) -> list[sampler.Step]:
    return sampler.step_table(sampler.SamplerOptions(**options), DiffusionConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 5, 25])
def test_rows_are_the_samplers_coefficients(count: int, eta: float) -> None:
    schedule = steps(steps=count, eta=eta, rho_schedule="geometric", rho_gamma=1.5)
    rows = table.step_rows(schedule, "input", 1000)
    assert [len(row) for row in rows] == [table.COLUMNS] * count
    for row, step in zip(rows, schedule, strict=True):
        assert row[0] ** 2 + 1 / row[1] ** 2 == pytest.approx(1)
        assert row[2] ** 2 + row[3] ** 2 + row[4] ** 2 == pytest.approx(1)
        assert (row[4], row[5], row[6]) == (step.sigma, step.rho, math.inf)
    assert rows[-1][2:5] == (1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("input", [0] * 5), ("predicted", [1] * 5), ("closed-form", [1] * 5), ("late", [0, 0, 0, 1, 0])],
)
def test_the_next_evaluation_sees_the_mask_of_its_policy(policy: table.MaskPolicy, expected: list[int]) -> None:
    # from noise in five steps: t = 800, 600, 400, 200, 0, of which only 0 lies below 0.2 T
    assert [row[7] for row in table.step_rows(steps(), policy, 1000)] == expected
    assert table.LATE == sampler.LATE == runtime_sampler.LATE


def test_the_clamp_is_a_limit_in_the_table() -> None:
    assert {row[6] for row in table.step_rows(steps(), "input", 1000, clamp=True)} == {1.0}


def test_an_impossible_schedule_is_refused() -> None:
    with pytest.raises(KernelError, match="at least one step"):
        table.step_rows([], "input", 1000)
    with pytest.raises(KernelError, match="rho > 0"):
        table.step_rows(steps(rho=0.0), "closed-form", 1000)
