"""`shadowdiffusion bench compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shadowdiffusion.benchmarks.errors import BenchmarkError, needing

LINE = "  {:<28} {:>10} {:>10} {:>22} {:>8} {:>8}"


def compare(
    before: Annotated[Path, typer.Argument(help="A folder with results/, or a latency.jsonl.")],
    after: Annotated[Path, typer.Argument(help="The same, of a later version.")],
    tolerance: Annotated[float, typer.Option(help="By so much, as a part, times may grow.", min=0.0)] = 0.05,
) -> None:
    """Compare the races of two sets of results; exit code 1 if anything is slower for certain, or less exact.

    Slower is what takes more than the tolerance longer at the low end of the 95 % interval.

    Example: shadowdiffusion bench compare /tmp/before /tmp/after
    """
    with needing():
        from shadowdiffusion.benchmarks.compare.races import changes, missing, title
    try:
        found, gone = changes(before, after), missing(before, after)
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    heading, worse = "", 0
    for change in found:
        if heading != (heading := title(change.race)):
            print(heading)
            print(LINE.format("", "ms before", "ms after", "times", "dB", "dB after"))
        regression = change.regression(tolerance)
        worse += regression is not None
        ratio = change.ratio
        shown = LINE.format(
            change.before.name,
            f"{change.before.ms.p50:.4g}",
            f"{change.after.ms.p50:.4g}",
            f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f})",
            f"{change.before.psnr:.1f}",
            f"{change.after.psnr:.1f}",
        )
        print(shown + (f"  {regression.upper()}" if regression else ""))
    for line in gone:
        print(f"not measured again: {line}")
    if worse:
        print(f"error: {worse} of {len(found)} are worse", file=sys.stderr)
        raise typer.Exit(1)
