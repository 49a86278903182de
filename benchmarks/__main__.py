"""`python -m benchmarks`: measurements of bundles and kernels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.compare.command import compare
from benchmarks.kernels.command import kernels
from benchmarks.latency.command import latency
from benchmarks.memory.command import memory
from benchmarks.precision.command import precision
from benchmarks.quality.command import full_size, native, quality, sampling, wide_gamut
from benchmarks.scaling.command import scaling
from benchmarks.startup.command import startup

app = typer.Typer(
    help="Measure bundles and kernels.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Measure bundles and kernels."""


for command in (
    latency,
    kernels,
    quality,
    sampling,
    startup,
    memory,
    scaling,
    full_size,
    native,
    wide_gamut,
    compare,
    precision,
):
    app.command()(command)


@app.command()
def report(
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder with results/.  [default: benchmarks]")
    ] = None,
) -> None:
    """Write the reports anew from the stored results: a page per device, and one that compares them.

    Example: python -m benchmarks report
    """
    from benchmarks.errors import BenchmarkError
    from benchmarks.measurement.results import FOLDER
    from benchmarks.reports import write_reports

    try:
        for file in write_reports(folder or FOLDER):
            print(file)
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    app()
