"""The tiny networks that all benchmarks are tried with, exported once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from functools import cache
from pathlib import Path

import pytest

from shadowdiffusion.benchmarks.models.subject import Subject, tiny_subject

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The tiny networks in every form, in a cache of the tests' own, which stays set and all workers share."""
    from shadowdiffusion.export import graph

    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "benchmarks-cache"
    shared.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared))
        patch.setattr(graph, "export_denoiser", cache(graph.export_denoiser))  # tracing takes seconds
        patch.setattr(graph, "export_prior", cache(graph.export_prior))
        with (shared / "lock").open("w") as lock:
            flock(lock, LOCK_EX)  # one worker exports, the others find what it has exported
            made = tiny_subject(lambda line: None)
        yield made


@pytest.fixture(scope="session")
def benchmarks_command(subject: Subject) -> Command:
    """`python -m benchmarks` with some words, on the CPU, in the cache that has the tiny networks."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "benchmarks", *map(str, words)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    return run
