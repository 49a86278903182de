"""What the user sees while photos are restored: a line or a record for each, a bar on a terminal, and a last word."""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from shadowdiffusion.runtime.batch.inputs import Problem
from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.stopping import Stop
from shadowdiffusion.runtime.commands.console import complain, one_line

if TYPE_CHECKING:
    from rich.progress import Progress


class Report:
    """Tells about `total` photos as they finish; when nobody reads stdout any more, it asks `stop`."""

    def __init__(self, total: int, stop: Stop, *, lines: bool, records: bool, notes: bool = True) -> None:
        """lines: print a line for each photo on stdout; records: print JSON there; notes: tell what was left out.
        Errors are always told.
        """
        self._notes = notes
        self._noted: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._total = total
        self._stop = stop
        self._lines = lines
        self._records = records
        self._bar: Progress | None = None
        self._started, self._refused = perf_counter(), 0

    @contextmanager
    def bar(self, name: str) -> Iterator[None]:
        """A bar on the terminal: over many photos, or over the steps of a single one, which is called `name`."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[pace]}"))
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as self._bar:
            single = self._total == 1
            self._bar.add_task(one_line(name) if single else "", total=None if single else self._total, pace="")
            self._started, self._refused = perf_counter(), self._counts.total()
            yield
        self._bar = None

    def step(self, done: int, steps: int) -> None:
        """Advance the bar of a single photo; called from any thread."""
        if self._bar is not None and self._total == 1:
            self._bar.update(self._bar.task_ids[0], completed=done, total=steps)

    def add(self, outcome: Outcome) -> None:
        """Tell what became of a photo."""
        if outcome.picture is not None and not self._deliver(partial(_write, outcome.picture)):
            return
        self._counts[outcome.status] += 1
        if outcome.used:
            self._used[str(outcome.used)] += 1
        if outcome.status == "failed":
            error = outcome.error or ""
            complain(error if outcome.input in error else f"{outcome.input}: {error}")
        for note in outcome.notes if self._notes else ():
            self._noted[note] += 1
            if self._noted[note] == 1:  # of a thousand photos with the same note, the last word gives the number
                complain(note if outcome.input in note else f"{outcome.input}: {note}", "note")
        if self._records:
            self._deliver(partial(print, json.dumps(outcome.record()), flush=True))
        elif self._lines and outcome.status in ("restored", "skipped"):
            how = f"{sum(outcome.timings.values()):.1f} s" if outcome.status == "restored" else "done before"
            self._deliver(partial(print, one_line(f"{outcome.input} -> {outcome.output} ({how})"), flush=True))
        if self._bar is not None and self._total > 1:
            self._bar.update(self._bar.task_ids[0], completed=self._counts.total(), pace=self._pace())

    def end(self) -> int:
        """Say the last word; returns the exit code."""
        failed, done = self._counts["failed"], self._counts["restored"] + self._counts["skipped"]
        for note, times in self._noted.items():
            if times > 1:
                complain(f"{times - 1} more: {note}", "note")
        results = self._counts["result"]
        if results and self._notes:
            what = "1 photo is the result of an earlier run" if results == 1 else f"{results} photos are results"
            complain(f"{what}{'' if results == 1 else ' of earlier runs'}: passed over", "note")
        if self._stop.signal is not None:
            if self._stop.signal != signal.SIGPIPE:
                complain(f"{done} of {self._total} photos are done, run again for the rest", "interrupted")
            return 128 + self._stop.signal
        if self._lines and self._used:
            counts = [f"{count} by {used}" for used, count in self._used.items()]
            how = counts[0].partition(" ")[2] if len(counts) == 1 else "; ".join(counts)
            self._deliver(partial(print, f"restored {how}", flush=True))
        if failed and self._total > 1:
            complain(f"{failed} of {self._total} photos failed")
        return 1 if failed or self._stop else 0

    def refuse(self, problem: Problem) -> None:
        """Tell that something was not even tried."""
        self.add(Outcome(problem.name, error=problem.message))

    def _pace(self) -> str:
        """How long a photo takes, and all that are left; what was done before says nothing about the rest."""
        worked = self._counts["restored"] + self._counts["failed"] - self._refused
        seconds = perf_counter() - self._started
        shown = f"{self._counts.total()} of {self._total}"
        if not worked:
            return shown
        left = timedelta(seconds=round(seconds / worked * (self._total - self._counts.total())))
        rate = f"{worked / seconds:.1f} photos/s" if worked > seconds else f"{seconds / worked:.1f} s/photo"
        return f"{shown}, {rate}, {left} left"

    def _deliver(self, write: Callable[[], object]) -> bool:
        """Write to stdout; False where that is impossible, which ends the run, as nobody would hear of the rest."""
        try:
            write()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still in Python's buffer
            if isinstance(error, BrokenPipeError):
                self._stop.now(signal.SIGPIPE)
            else:
                self._stop.now()
                complain(f"cannot write to stdout: {error.strerror}")
            return False
        return True


def _write(picture: bytes) -> None:
    sys.stdout.buffer.write(picture)
    sys.stdout.buffer.flush()
