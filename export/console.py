"""What the command line prints: progress lines and errors on stderr, never a traceback."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from export.errors import ExportError
from runtime.errors import RestoreError
from training.errors import TrainingError

Report = Callable[[str], None]


def reporter() -> Report:
    """A function that prints a line with the seconds since now in front of it."""
    started = time.perf_counter()

    def report(line: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {line}", file=sys.stderr, flush=True)

    return report


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
