"""The one exception family of the `benchmarks` folder, and packages that are missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
    except ModuleNotFoundError as error:
        wanted = ",".join(("benchmark", *extras))
        print(f"error: {error.name} is not installed: pip install '.[{wanted}]'", file=sys.stderr)
        raise typer.Exit(2) from None
