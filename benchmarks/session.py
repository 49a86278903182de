"""One run of a benchmark of whole restorations: what was asked for, how long it may take, and where results go."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import msgspec
import torch
import typer

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.bench import Bench, real_bench, smoke_bench, subjects
from shadowdiffusion.benchmarks.measurement.machine import Header, header, slug
from shadowdiffusion.benchmarks.measurement.results import FOLDER, append, results_file
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.bundle.folder import Task
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.training.errors import TrainingError


@dataclass(frozen=True)
class Options:
    """models: () = all. bundle: None = the built-in one of the task. threads: None = one per core.

    minutes: for measuring, all models together. output: folder for results/; None = that of the package, or none
    for a trial.
    """

    models: Sequence[str] = ()
    bundle: Path | None = None
    task: Task = "shadow"
    device: str = "auto"
    threads: int | None = None
    minutes: float = 10.0
    force: bool = False
    smoke: bool = False
    output: Path | None = None


class Session:
    """A run that begins now. Raises BenchmarkError for options that make no sense."""

    def __init__(self, options: Options, command: Sequence[str]) -> None:
        self._began = monotonic()
        self.options = options
        self.bench: Bench = smoke_bench() if options.smoke else real_bench(options.device, options.threads)
        self._makers = subjects(self.bench, options.models, options.bundle, options.task, self.report)
        torch.set_num_threads(self.bench.threads)
        gpu = torch.device("cuda", torch.cuda.current_device()) if self.bench.device == "cuda" else None
        self.header: Header = header(command, device=gpu, smoke=options.smoke)
        self._folder = options.output or (None if options.smoke else FOLDER)
        self._end = self._began + 60 * options.minutes
        self._missing = 0

    def report(self, line: str) -> None:
        """Say on stderr how it goes."""
        print(f"[{monotonic() - self._began:6.1f} s] {line}", file=sys.stderr, flush=True)

    def models(self) -> Iterator[tuple[Subject, float]]:
        """Each model, and until when it should be done, in seconds of `time.monotonic`."""
        machine = self.header.machine
        name = machine.gpu.name if machine.gpu else machine.cpu
        print(f"{name}: NOT A MEASUREMENT: tiny networks, run once" if self.options.smoke else name, flush=True)
        for number, make in enumerate(self._makers):
            started = monotonic()
            subject, remaining = make(), len(self._makers) - number
            self._end += monotonic() - started  # an export, which is kept for the next time
            yield subject, self._end - (remaining - 1) * (self._end - monotonic()) / remaining

    def over(self, what: str) -> bool:
        """Whether the time is up, which is then said, with what is left out."""
        if monotonic() <= self._end:
            return False
        self.report(f"{self.options.minutes:g} minutes are over: {what} and what follows is left out")
        return True

    def lost(self, what: str, reason: object) -> None:
        """Count a result that is missing, and say why."""
        self._missing += 1
        self.report(f"{what}: {reason}")

    def keep(self, kind: str, record: msgspec.Struct | None, lines: Iterable[str], noisy: int) -> None:
        """Show and store a record, None if nothing of it is left. noisy: parts whose times spread too wide."""
        for line in lines:
            print(line, flush=True)
        if record is not None and self._folder is not None:
            append(results_file(self._folder, slug(self.header), kind), record)
        self._missing += 0 if self.options.force else noisy

    def close(self) -> None:
        """Raise BenchmarkError if anything is missing for another reason than time."""
        if self._missing:
            raise BenchmarkError(
                f"{self._missing} results are missing, or have too wide a spread (--force keeps those)"
            )


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What whoever measures can act on becomes one line and exit code 2."""
    try:
        yield
    except (BenchmarkError, ExportError, RestoreError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
