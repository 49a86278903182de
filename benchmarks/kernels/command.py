"""`shadowdiffusion bench kernels`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from shadowdiffusion.benchmarks.errors import BenchmarkError, needing
from shadowdiffusion.benchmarks.measurement.results import FOLDER


def kernels(
    kernel: Annotated[list[str] | None, typer.Option(help="Only this kernel; may be repeated.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Only this side of the images; may be repeated.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Only so many images at once; may be repeated.")] = None,
    minutes: Annotated[float, typer.Option(help="Begin no further case after that long.")] = 6.0,
    force: Annotated[bool, typer.Option("--force", help="Keep times that spread too wide, marked as noisy.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the whole program on the CPU, tiny; nothing is measured or stored.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results/ and reports/.  [default: benchmarks; --smoke: none]"),
    ] = None,
) -> None:
    """Bandwidth of every Triton kernel against a copy, PyTorch eager and torch.compile; needs a GPU.

    Every result is stored as soon as it is there. Usual sizes: 256, 512 and 1024 pixels, batches of 1, 4 and 16, and
    for group_norm_silu all sizes of the paper's network on one image of 256 pixels.

    Example: shadowdiffusion bench kernels --kernel prior_step --batch 1
    """
    if smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # Triton decides when it is imported
    with needing("kernels"):
        from shadowdiffusion.benchmarks.kernels.run import Request, run
    folder = None if smoke and output is None else output or FOLDER
    try:
        run(Request(kernel or (), size or (), batch or (), minutes, force, smoke, folder), sys.argv[1:])
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
