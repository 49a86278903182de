"""What the command line prints on stderr: progress lines, progress bars and errors, never a traceback."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NoReturn

from export.errors import ExportError
from runtime.errors import RestoreError
from training.errors import TrainingError

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
def one_line_errors() -> Iterator[None]:
    """Every foreseeable failure becomes one line on stderr and exit code 2."""
    before = [signal.signal(number, _stop) for number in (signal.SIGTERM, signal.SIGALRM)]
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted: nothing was written", file=sys.stderr)
        raise SystemExit(130) from None
    except ImportError as error:
        fail(f"{error}: install the export extra (pip install 'shadowdiffusion[export]')")
    except (ExportError, TrainingError, RestoreError, OSError) as error:
        fail(str(error))
    finally:
        signal.alarm(0)
        for number, handler in zip((signal.SIGTERM, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def fail(message: str) -> NoReturn:
    """Print `message` as one line and leave with exit code 2."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(2) from None


def _stop(*_: object) -> NoReturn:
    """SIGTERM as an exception, so that temporary files are removed on the way out.

    Raised inside a callback of some library, the exception is lost: ask again until it gets through.
    """
    signal.alarm(5)
    raise SystemExit(143)
