"""Processes that restore: what they say, their memory, and how they end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.memory import peak_mib
from shadowdiffusion.benchmarks.measurement.workers import Worker
from shadowdiffusion.benchmarks.models.subject import Subject


def test_the_peak_grows_with_what_is_taken() -> None:
    before = peak_mib()
    taken = np.ones(int((before + 64) * 2**17), np.float64)
    assert peak_mib() > before + 48
    del taken
    assert peak_mib() > before + 48


def test_a_worker_restores_in_memory_of_its_own(subject: Subject) -> None:
    ballast = np.ones(2**28, np.uint8)  # 256 MiB of ours are none of its
    with Worker(subject.bundle.path, "cpu", 1) as worker:
        worker.ask(192, 2, 1)
        answer = worker.answer()
        assert answer["ms"] > 0
        assert worker.loaded_mib + 8 < answer["peak_mib"]
        assert worker.loaded_mib < 240
        worker.ask(16, 1, 1)
        assert worker.answer()["peak_mib"] >= answer["peak_mib"]
    assert ballast[0]


def test_one_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"a process that restores has ended: .*BundleError"):
        Worker(tmp_path, "cpu", 1)


def test_one_that_dies_at_work_says_why(subject: Subject) -> None:
    with Worker(subject.bundle.path, "cpu", 1) as worker:
        worker.ask(16, 1, 7)
        with pytest.raises(BenchmarkError, match="7 steps"):
            worker.answer()
