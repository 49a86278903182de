"""`shadowdiffusion bench precision`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from shadowdiffusion.benchmarks.errors import needing


def precision(
    bundle: Annotated[
        list[Path] | None, typer.Option("--bundle", help="A bundle; may be repeated.  [default: the built-in ones]")
    ] = None,
    photo: Annotated[
        list[Path] | None, typer.Option("--photo", help="A photo; may be repeated.  [default: the example]")
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="A document whose marked block is to hold the tables.")
    ] = None,
) -> None:
    """Agreement with float32, in dB, of every precision that an engine can have, simulated on the CPU.

    Example: shadowdiffusion bench precision --write docs/precision.md
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.precision.tables import replace_block, tables
        from shadowdiffusion.benchmarks.session import one_line_errors
        from shadowdiffusion.runtime.bundle.opening import built_in
    with one_line_errors():
        paths = bundle or [built_in(task) for task in ("shadow", "low-light", "exposure")]
        text = tables(paths, photo or (), lambda line: print(line, file=sys.stderr))
        if write is None:
            print(text)
        else:
            replace_block(write, text)
