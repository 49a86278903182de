"""`python -m benchmarks memory`: the trial run and refusals."""

from __future__ import annotations

from pathlib import Path

from shadowdiffusion.benchmarks.measurement.results import read
from shadowdiffusion.benchmarks.memory.record import MemoryRecord
from tests.benchmarks.conftest import Command


def test_the_trial_run_measures_sizes_and_batches(benchmarks_command: Command, tmp_path: Path) -> None:
    done = benchmarks_command("memory", "--smoke", "--size", 16, "--size", 192, "--size", 96, "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    pixels, batch = read(tmp_path / "results/smoke/memory.jsonl", MemoryRecord)
    assert [peak.amount for peak in pixels.points] == [16**2, 96**2, 192**2]
    assert [peak.amount for peak in batch.points] == [1, 2, 4]
    assert pixels.line is not None
    assert pixels.line.slope > 0
    assert pixels.points[-1].peak_mib > pixels.points[0].peak_mib + 8
    assert all(30 < peak.loaded_mib <= peak.peak_mib for peak in (*pixels.points, *batch.points))


def test_a_size_that_does_not_fit_is_said(benchmarks_command: Command) -> None:
    done = benchmarks_command("memory", "--smoke", "--size", 18)
    assert done.returncode == 2
    assert "size 18 does not fit these networks" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 1 results are missing")
