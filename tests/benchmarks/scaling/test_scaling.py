"""`python -m benchmarks scaling`: the trial run, refusals, and points that are left out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.results import read
from shadowdiffusion.benchmarks.scaling.axes import counts
from shadowdiffusion.benchmarks.scaling.record import ScalingRecord
from shadowdiffusion.benchmarks.scaling.run import lines, quiet, run
from shadowdiffusion.benchmarks.session import Options
from tests.benchmarks.conftest import Command
from tests.benchmarks.scaling.records import growth


def test_the_trial_run_measures_every_axis(benchmarks_command: Command, tmp_path: Path) -> None:
    done = benchmarks_command("scaling", "--smoke", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOT A MEASUREMENT" in done.stdout
    records = {record.axis: record for record in read(tmp_path / "results/smoke/scaling.jsonl", ScalingRecord)}
    assert {axis: [point.amount for point in record.points] for axis, record in records.items()} == {
        "pixels": [256, 576, 1024],
        "batch": [1, 2, 3],
        "steps": [1, 2, 3],
        "threads": [1],
        "processes": [1, 2],
    }
    checked = [point.psnr for record in records.values() for point in record.points if record.axis != "processes"]
    assert all(psnr is not None and psnr > 100 for psnr in checked)
    assert records["pixels"].line is not None
    assert records["processes"].line is None


def test_an_unknown_axis_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="axis 'colours' is unknown: choose from pixels, batch"):
        run(Options(smoke=True), ["colours"], (), [])


def test_threads_double_up_to_all() -> None:
    assert counts(1) == [1]
    assert counts(4) == [1, 2, 4]
    assert counts(6) == [1, 2, 4, 6]


def test_the_line_is_made_of_the_points_that_are_kept() -> None:
    record = growth("batch", {1: 10.0, 2: 20.0, 4: 40.0, 8: 160.0})
    assert record.line is not None
    assert record.line.superlinear
    assert any("SUPER-LINEAR" in line for line in lines(record))
    found = quiet(msgspec.structs.replace(record, noisy={"8": 0.5}))
    assert found is not None
    assert [point.amount for point in found.points] == [1, 2, 4]
    assert found.line is not None
    assert found.line.slope == pytest.approx(10)
    assert quiet(msgspec.structs.replace(record, noisy={"1": 1, "2": 1, "4": 1, "8": 1})) is None


def test_threads_share_what_can_be_shared() -> None:
    line = growth("threads", {1: 110.0, 2: 60.0, 4: 35.0}).line
    assert line is not None
    assert [line.intercept, line.slope] == pytest.approx([10, 100])
