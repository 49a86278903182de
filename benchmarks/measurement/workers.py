"""Processes that restore on demand, driven from here; `worker` is what they run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.machine import ROOT


class Worker:
    """One process with a bundle open; use it in a `with` block, which ends it.

    loaded_mib: its peak memory when the bundle was open. Raises BenchmarkError with its last words if it dies.
    """

    def __init__(self, bundle: Path, device: str, threads: int) -> None:
        words = (
            sys.executable,
            "-m",
            "shadowdiffusion.benchmarks.measurement.worker",
            str(bundle),
            device,
            str(threads),
        )
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        self.loaded_mib = self.answer()["peak_mib"]

    def ask(self, size: int, batch: int, steps: int) -> None:
        """Let it restore; `answer` waits for the end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"size": size, "batch": batch, "steps": steps}) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, float]:
        """What it said when it was done: "ms" and "peak_mib"."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            _, words = self._process.communicate()
            last = words.strip().splitlines()[-1] if words.strip() else f"exit code {self._process.returncode}"
            raise BenchmarkError(f"a process that restores has ended: {last}")
        found: dict[str, float] = json.loads(line)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()
