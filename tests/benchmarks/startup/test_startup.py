"""`python -m benchmarks startup`: the trial run, its parts, and processes that fail."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.results import read
from shadowdiffusion.benchmarks.startup.record import StartupRecord
from shadowdiffusion.benchmarks.startup.run import FIRST, program, quiet
from tests.benchmarks.conftest import Command


def test_the_trial_run_measures_new_processes(benchmarks_command: Command, tmp_path: Path) -> None:
    done = benchmarks_command("startup", "--smoke", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = read(tmp_path / "results/smoke/startup.jsonl", StartupRecord)
    assert [start.name for start in record.starts] == ["python", "help", "import", "load", FIRST]
    times = {start.name: start.ms.p50 for start in record.starts}
    assert min(times.values()) > 0
    parts = ["interpreter", "import", "load", "read", "prepare", "prior", "diffusion", "full size", "write", "exit"]
    assert [part.name for part in record.parts] == parts
    assert sum(part.ms.p50 for part in record.parts) == pytest.approx(times[FIRST], rel=0.2)
    assert record.psnr > 50
    assert record.modules > 100
    partly = quiet(msgspec.structs.replace(record, noisy={"help": 0.4}))
    assert partly is not None
    assert [start.name for start in partly.starts] == ["python", "import", "load", FIRST]
    assert quiet(msgspec.structs.replace(record, noisy={FIRST: 0.4})) is None


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(BenchmarkError, match="a new process has failed: ValueError: bad"):
        program("-c", "raise ValueError('bad')")()
