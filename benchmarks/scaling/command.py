"""`shadowdiffusion bench scaling`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from shadowdiffusion.benchmarks.command_options import (
    BundlePath,
    DeviceName,
    Force,
    Minutes,
    Model,
    Output,
    Smoke,
    TaskName,
    Threads,
)
from shadowdiffusion.benchmarks.errors import needing


def scaling(
    model: Model = None,
    bundle: BundlePath = None,
    task: TaskName = "shadow",
    axis: Annotated[
        list[str] | None,
        typer.Option(help="pixels, batch, steps, threads or processes; may be repeated.  [default: all]"),
    ] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="A side for the pixels; may be repeated.  [default: 128 to 512]")
    ] = None,
    device: DeviceName = "auto",
    threads: Threads = None,
    minutes: Minutes = 10.0,
    force: Force = False,
    smoke: Smoke = False,
    output: Output = None,
) -> None:
    """How time grows with pixels, images, steps, threads and processes; a line through it says at what rate.

    Example: shadowdiffusion bench scaling --model bundle --axis pixels --axis threads
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.scaling.run import run
        from shadowdiffusion.benchmarks.session import Options, one_line_errors
    options = Options(model or (), bundle, task, device, threads, minutes, force, smoke, output)  # type: ignore[arg-type]
    with one_line_errors():
        run(options, axis or (), size or (), sys.argv[1:])
