"""The library of CPU kernels, built once into build/cpu-kernels/ and from then on only what has changed."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from shadowdiffusion.runtime.backends import cpu_library

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "cpu-kernels"
ABSENT = re.compile("Could NOT find|Could not find a package|required packages were not found|Package '")
"""What CMake says where a library is not installed."""


def use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the runtime find the library during one test. Skips the test where it cannot be built."""
    path, problem = _built()
    if path is None:
        pytest.skip(problem)
    monkeypatch.setenv(cpu_library.VARIABLE, str(path))
    cpu_library._library.cache_clear()


def race_won_by(winner: str) -> Callable[..., dict[str, list[float]]]:
    """A race that runs everybody once, and has `winner` take half of the time of the others."""

    def race(runs: dict[str, Callable[[], object]], _: object) -> dict[str, list[float]]:
        for run in runs.values():
            run()
        return {name: [1e-3 if name == winner else 2e-3] * 4 for name in runs}

    return race


@cache
def _built() -> tuple[Path | None, str]:
    """The library, or what is missing to build it. Others who want to build in this folder wait."""
    for program in ("cmake", "ninja", "c++"):
        if shutil.which(program) is None:
            return None, f"{program} is not installed (docs/cpp.md has the line)"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        configured = _run("cmake", "--preset", "cpu-kernels")
        missing = next((line for line in configured.stderr.splitlines() if ABSENT.search(line)), None)
        if configured.returncode != 0 and missing:
            return None, f"a library is not installed (docs/cpp.md has the line): {missing.strip()}"
        assert configured.returncode == 0, configured.stderr
        built = _run("cmake", "--build", "--preset", "cpu-kernels")
        assert built.returncode == 0, built.stdout + built.stderr
    return next(BUILD.glob(f"lib*/{cpu_library.NAME}")), ""


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
