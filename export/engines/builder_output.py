"""What TensorRT says while it builds: its log, and its progress as one fraction."""

from __future__ import annotations

import threading
from typing import Any

from shadowdiffusion.export.commands.console import Progress

LOG_LINES = 20_000


def make_logger(trt: Any) -> Any:
    """Keeps the last lines of everything TensorRT says, for the log of a failure."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(f"{severity.name}: {message}")
            if len(self.lines) > 2 * LOG_LINES:
                del self.lines[:LOG_LINES]

    return Logger()


def make_monitor(trt: Any, progress: Progress) -> Any:
    """Reports progress and, once `cancelled` is set, asks the builder to stop."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = False
            self.phases = Phases(progress)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            self.phases.step(name, step)
            return not self.cancelled

        def phase_finish(self, name: str) -> None:
            self.phases.finish(name)

    return Monitor()


class Phases:
    """Nested phases of a build -> one fraction that never falls. Calls may come from any thread."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str | None, int, int]] = {}
        self._reached = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins inside `parent`."""
        with self._lock:
            self._open[name] = (parent, max(1, steps), 0)
            self._report(name)

    def step(self, name: str, step: int) -> None:
        """Step number `step`, from 0, of a phase is done."""
        with self._lock:
            if name in self._open:
                parent, steps, _ = self._open[name]
                self._open[name] = (parent, steps, step + 1)
                self._report(name)

    def finish(self, name: str) -> None:
        """A phase is over."""
        with self._lock:
            self._open.pop(name, None)

    def _report(self, name: str) -> None:
        fraction, at, depth = 0.0, name, 0
        while at in self._open and depth <= len(self._open):
            parent, steps, done = self._open[at]
            fraction = min(1.0, (done + fraction) / steps)
            if parent is None:
                self._reached = max(self._reached, fraction)
                break
            at, depth = parent, depth + 1
        self._progress(self._reached, name)
