"""What the loop on the GPU keeps there: where tensors lie, and the constants that all steps read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shadowdiffusion.kernels.step_table import step_rows
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.gpu.constants import DeviceConstants
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.layout import Layout
from shadowdiffusion.runtime.gpu.plan import Plan
from shadowdiffusion.runtime.gpu.step_table import step_table
from tests.runtime.fake_gpu import Driver
from tests.runtime.tiny import make_sampling, write_bundle

POLICIES: list[Any] = ["input", "predicted", "late", "closed-form"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("changes", [{}, {"eta": 1.0, "clamp": True}, {"start": 40}])
def test_the_table_is_the_one_that_the_kernels_know(policy: Any, changes: dict[str, Any]) -> None:
    sampling = make_sampling(mask_policy=policy, **changes)
    for table in sampling.tables.values():
        found = step_table(sampling, table)
        expected = np.array(step_rows(table, policy, sampling.T, clamp=sampling.clamp), np.float32)
        np.testing.assert_array_equal(found[:, :7], expected[:, :7])
        np.testing.assert_array_equal(found[:-1, 7], expected[:-1, 7])  # after the last step nothing is seen


@pytest.mark.parametrize(
    ("policy", "with_mask", "expected"),
    [
        ("input", False, [0, 0, 0, 0, 0]),
        ("input", True, [0, 0, 0, 0, 1]),
        ("predicted", False, [1, 1, 1, 1, 0]),
        ("closed-form", True, [1, 1, 1, 1, 1]),
        ("late", False, [0, 0, 0, 1, 0]),
    ],
)
def test_the_mask_head_runs_where_someone_reads_its_mask(policy: Any, with_mask: bool, expected: list[int]) -> None:
    """t is 80, 60, 40, 20 and 0, of which only 0 is late."""
    sampling = make_sampling(mask_policy=policy)
    plan = Plan(tuple(sampling.tables["5"]), False, with_mask)
    steps = list(plan.steps(sampling))
    assert [int(refines) for _, _, refines, _ in steps] == expected
    assert [last for *_, last in steps] == [False] * 4 + [True]
    assert [index for index, *_ in steps] == list(range(5))
    assert plan.refines(sampling) == any(expected)


def test_tensors_lie_apart_and_aligned() -> None:
    layout = Layout({"a": ((3, 5), np.float32), "b": ((7,), np.int64), "c": ((2, 2), np.float16)})
    assert layout.addresses(4096) == {"a": 4096, "b": 4352, "c": 4608}
    assert layout.size == 768
    memory = np.zeros(layout.size, np.uint8)
    for name, value in (("a", 1.5), ("b", -1), ("c", 0.25)):
        layout.view(name, memory)[...] = value
    assert (layout.view("a", memory) == 1.5).all()
    assert (layout.view("b", memory) == -1).all()
    assert layout.view("c", memory).shape == (2, 2)


def test_constants_are_where_kernels_look_for_them(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b", make_sampling(start=40)))
    driver, table = Driver(), bundle.table(5)
    cuda = Cuda(driver.load)
    times = np.arange(5 * 70, dtype=np.float32).reshape(5, 1, 70)
    with cuda.current():
        constants = DeviceConstants(cuda, bundle.manifest, table, times)

    def at(address: int, kind: Any, count: int) -> Any:
        return driver.at(address, count * np.dtype(kind).itemsize).view(kind)

    for step in range(5):
        assert constants.index(step) % 16 == 0
        assert at(constants.index(step), np.int32, 1) == step
        np.testing.assert_array_equal(at(constants.time(step), np.float32, 70), times[step, 0])
        assert constants.time(step) % 256 == 0
    assert constants.time_size == 280
    np.testing.assert_array_equal(
        at(constants.at["table"], np.float32, 40).reshape(5, 8), step_table(bundle.manifest.sampling, table)
    )
    np.testing.assert_allclose(at(constants.at["limits"], np.float32, 3), [1e-4, 0.01, 4.0])
    assert at(constants.at["threshold"], np.float32, 1) == 0.25
    alpha_bar = bundle.manifest.sampling.start_alpha_bar
    assert alpha_bar
    np.testing.assert_allclose(at(constants.at["start"], np.float32, 2) ** 2, [1 - alpha_bar, alpha_bar], rtol=1e-6)


def test_schedules_are_told_apart_by_their_steps() -> None:
    """Tables serve as keys: equal ones share a graph, others do not."""
    first, same = (make_sampling().tables["5"] for _ in range(2))
    other = [msgspec.structs.replace(step, rho=0.3) for step in first]
    plans = {Plan(tuple(table), False, False) for table in (first, same, other)}
    assert len(plans) == 2
