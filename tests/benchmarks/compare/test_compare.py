"""`python -m benchmarks compare`: what is slower or less exact is found, noise is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from shadowdiffusion.benchmarks.cli import app
from shadowdiffusion.benchmarks.compare.races import ratio
from shadowdiffusion.benchmarks.latency.record import KIND, Entry
from shadowdiffusion.benchmarks.measurement.results import append, results_file
from tests.benchmarks.latency.records import entry, race

TIMES = [100.0, 101.0, 99.0, 102.0, 98.0, 100.0, 101.0, 99.0]


def results(folder: Path, entries: Sequence[Entry], **changes: object) -> Path:
    append(results_file(folder, "a-cpu", KIND), race(entries, **changes))
    return folder


def compare(*words: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, words)])


@pytest.mark.parametrize(
    ("times", "psnr", "code", "verdict"),
    [
        (TIMES, 120.0, 0, None),
        ([0.5 * time for time in TIMES], 120.0, 0, None),
        ([1.04 * time for time in TIMES], 120.0, 0, None),
        ([1.10 * time for time in TIMES], 120.0, 1, "SLOWER"),
        ([60.0, 180.0, 70.0, 160.0, 65.0, 170.0, 110.0, 115.0], 120.0, 0, None),  # noise
        (TIMES, 101.0, 0, None),  # rounding
        (TIMES, 60.0, 1, "LESS EXACT"),
    ],
)
def test_what_is_worse_for_certain(
    tmp_path: Path, times: list[float], psnr: float, code: int, verdict: str | None
) -> None:
    before = results(tmp_path / "a", [entry("authors", TIMES), entry("bundle", TIMES)])
    after = results(tmp_path / "b", [entry("authors", TIMES), entry("bundle", times, psnr=psnr)])
    done = compare(before, after)
    assert done.exit_code == code, done.output
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("  bundle"))
    assert verdict is None or line.endswith(verdict)
    assert ("1 of 2 are worse" in done.stderr) == bool(code)


def test_a_tolerance_is_what_one_says(tmp_path: Path) -> None:
    before = results(tmp_path / "a", [entry("bundle", TIMES)])
    after = results(tmp_path / "b", [entry("bundle", [1.1 * time for time in TIMES])])
    assert compare(before, after, "--tolerance", 0.2).exit_code == 0
    assert compare(after, before).exit_code == 0
    files = (folder / "results" / "a-cpu" / "latency.jsonl" for folder in (before, after))
    assert compare(*files).exit_code == 1


def test_what_was_not_measured_again_is_told(tmp_path: Path) -> None:
    before = results(tmp_path / "a", [entry("authors", TIMES), entry("bundle", TIMES)])
    results(before, [entry("bundle", TIMES)], steps=25)
    done = compare(before, results(tmp_path / "b", [entry("bundle", TIMES)]))
    assert done.exit_code == 0
    gone = [line for line in done.stdout.splitlines() if line.startswith("not measured again")]
    assert len(gone) == 2
    assert any(line.endswith("5 steps, cpu: authors") for line in gone)


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    before = results(tmp_path / "a", [entry("bundle", TIMES)])
    for after, message in (
        (results(tmp_path / "b", [entry("bundle", TIMES)], size=512), "have no race in common"),
        (tmp_path / "c.jsonl", "No such file"),
    ):
        done = compare(before, after)
        assert done.exit_code == 2
        assert message in done.stderr
    (tmp_path / "d").mkdir()
    assert "holds no results" in compare(before, tmp_path / "d").stderr


def test_samples_of_two_processes_are_drawn_apart() -> None:
    found = ratio([20.0, 22.0, 21.0], [10.0, 11.0, 10.5])
    assert found.value == 2.0
    assert found.low < 2.0 < found.high
    assert found == ratio([20.0, 22.0, 21.0], [10.0, 11.0, 10.5])
