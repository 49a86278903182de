"""The tiny networks that all benchmarks are tried with, exported once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from benchmarks.models.subject import Subject, tiny_subject

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.hookimpl(tryfirst=True)  # before xdist looks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # one worker exports the networks, instead of every worker its own
    for item in items:
        if {"subject", "benchmarks_command"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("benchmarks"))


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """The tiny networks in every form, in a cache of the tests' own, which stays set."""
    from export import graph

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(graph, "export_denoiser", cache(graph.export_denoiser))  # tracing takes seconds
        patch.setattr(graph, "export_prior", cache(graph.export_prior))
        yield tiny_subject(lambda line: None)


@pytest.fixture(scope="session")
def benchmarks_command(subject: Subject) -> Command:
    """`python -m benchmarks` with some words, on the CPU, in the cache that has the tiny networks."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "benchmarks", *map(str, words)]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    return run
