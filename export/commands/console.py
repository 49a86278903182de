"""What the command line prints on stderr: progress lines, progress bars and errors, never a traceback."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.packages import missing_package
from shadowdiffusion.training.errors import TrainingError

Report = Callable[[str], None]
"""Called with a line that says what begins, or why."""
Progress = Callable[[float, str], None]
"""Called with the finished fraction in [0, 1] and the name of the phase, from any thread."""
Bar = Callable[[str], AbstractContextManager[Progress]]
"""A context manager for the title of some work, which gives the Progress to call."""


def reporter() -> Report:
    """A function that prints a line with the seconds since now in front of it."""
    started = time.perf_counter()

    def report(line: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {line}", file=sys.stderr, flush=True)

    return report


@contextmanager
def terminal_bar(title: str) -> Iterator[Progress]:
    """A Bar on a terminal, which runs to and fro until the first fraction is known; nothing elsewhere.

    Lines that are reported meanwhile appear above it.
    """
    if not sys.stderr.isatty():
        yield lambda fraction, phase: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Display

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Display(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task(title, total=None)
        yield lambda fraction, phase: display.update(
            task, total=1.0, completed=fraction, description=f"{title}: {phase}" if phase else title
        )


@contextmanager
def quiet_bar(title: str) -> Iterator[Progress]:
    """A Bar that shows nothing."""
    yield lambda fraction, phase: None


@contextmanager
def one_line_errors(extra: str = "export") -> Iterator[None]:
    """Every foreseeable failure becomes one line on stderr and exit code 2; an interrupt 130, SIGTERM 143.

    extra: of pyproject.toml, with what the command needs.
    A stop is an exception, so that temporary files are removed on the way out. A library may lose it, or make an error
    of its own out of it: it is raised again until it gets through, and whatever comes out after it counts as the stop.
    The process then ends at once, whatever is still under way in its other threads.
    """
    stops: list[int] = []

    def stop(number: int, _: object) -> NoReturn:
        if number != signal.SIGALRM:
            stops.append(number)
        signal.alarm(5)
        raise SystemExit(128 + stops[0])

    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr, flush=True)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    except BaseException as error:
        if stops:
            print("stopped: nothing was written", file=sys.stderr, flush=True)
            os._exit(128 + stops[0])
        if isinstance(error, ImportError):
            fail(missing_package(error, extra))
        if isinstance(error, ExportError | TrainingError | RestoreError | OSError):
            fail(str(error))
        raise
    finally:
        signal.alarm(0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def fail(message: str) -> NoReturn:
    """Print `message` as one line and leave with exit code 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2) from None
