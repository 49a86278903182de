"""Compiled kernels for tests: each GPU generation once in a test process, by a process of its own.

A process that interprets kernels, as tests do, compiles none.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from shadowdiffusion.kernels.ahead_of_time import SUPPORTED

ROOT = Path(__file__).resolve().parents[1]
USUAL = (80, 90)
"""Generations that the usual tests compile for."""
CAPABILITIES = [
    pytest.param(sm, marks=[pytest.mark.xdist_group("compiled"), *[pytest.mark.slow] * (sm not in USUAL)])
    for sm in SUPPORTED
]
"""Every supported generation, those beyond the usual ones for the slow tests."""
Records = list[dict[str, Any]]


def compiling(*arguments: str) -> str:
    """What a Python program that compiles kernels prints."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, *arguments]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


def compile_to(directory: Path, *arguments: str) -> Records:
    """The records of kernels that are compiled into a folder."""
    records: Records = json.loads(compiling("-m", "shadowdiffusion.kernels.ahead_of_time", str(directory), *arguments))
    return records


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="compiled-")


@functools.cache
def compiled(sm: int) -> tuple[Path, Records]:
    """Every kernel for one generation: the folder and the records."""
    folder = Path(_folder().name) / str(sm)
    return folder, compile_to(folder, "--sm", str(sm))
