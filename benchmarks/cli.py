"""`python -m benchmarks`: measurements of bundles and kernels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shadowdiffusion.benchmarks.compare.command import compare
from shadowdiffusion.benchmarks.kernels.command import kernels
from shadowdiffusion.benchmarks.latency.command import latency
from shadowdiffusion.benchmarks.memory.command import memory
from shadowdiffusion.benchmarks.precision.command import precision
from shadowdiffusion.benchmarks.quality.command import full_size, native, quality, sampling, wide_gamut
from shadowdiffusion.benchmarks.scaling.command import scaling
from shadowdiffusion.benchmarks.startup.command import startup

app = typer.Typer(
    help="Measure bundles and kernels.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _benchmarks() -> None:
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

    Example: shadowdiffusion bench report
    """
    from shadowdiffusion.benchmarks.errors import BenchmarkError
    from shadowdiffusion.benchmarks.measurement.results import FOLDER
    from shadowdiffusion.benchmarks.reports import write_reports

    try:
        for file in write_reports(folder or FOLDER):
            print(file)
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


def main(program: str = "python -m benchmarks") -> None:
    """Run the command line.

    Args:
        program: How it was called, for `--help`.
    """
    app(prog_name=program)
