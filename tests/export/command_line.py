"""Calls of `python -m export`: in this process where that shows all, in a process of their own where it matters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from shadowdiffusion.export.commands.cli import app

ROOT = Path(__file__).resolve().parents[2]


def call(command: str, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [command, *map(str, arguments)])


def assert_refused(result: Result, *words: str) -> None:
    assert_one_line(result.exit_code, result.stderr, *words)


def assert_one_line(code: int, stderr: str, *words: str) -> None:
    """Exit code 2 and one line with these words beside the lines of progress, which begin with [ 1.2 s]."""
    lines = [line for line in stderr.splitlines() if not line.startswith("[")]
    assert (code, len(lines)) == (2, 1), stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def run(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    command = [sys.executable, "-m", "export", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=1200, check=False
    )


def environment() -> dict[str, str]:
    """For a process of its own: this code, wherever it runs, and a Triton that compiles."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return inherited | {"PYTHONPATH": str(ROOT)}
