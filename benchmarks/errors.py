"""The one exception family of the `benchmarks` folder, and packages that are missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from shadowdiffusion.runtime.packages import missing_package


class BenchmarkError(Exception):
    """Something that whoever measures can act on.

    The message says what was wrong, with which value, and what to do.
    """


@contextmanager
def needing(*extras: str) -> Iterator[None]:
    """Imports that need optional packages; one that is missing becomes one line and exit code 2."""
    import typer

    try:
        yield
    except ImportError as error:
        print(f"error: {missing_package(error, 'benchmark', *extras)}", file=sys.stderr)
        raise typer.Exit(2) from None
