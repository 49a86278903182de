"""`shadowdiffusion bench memory`."""

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


def memory(
    model: Model = None,
    bundle: BundlePath = None,
    task: TaskName = "shadow",
    size: Annotated[list[int] | None, typer.Option(help="A side; may be repeated.  [default: 128 to 768]")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Images at once; may be repeated.  [default: 1, 2 and 4]")
    ] = None,
    device: DeviceName = "auto",
    threads: Threads = None,
    minutes: Minutes = 10.0,
    force: Force = False,
    smoke: Smoke = False,
    output: Output = None,
) -> None:
    """Peak resident memory of a process that restores, by size and by batch, each in a fresh process.

    Example: shadowdiffusion bench memory --model bundle --size 256 --size 512 --size 1024
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.memory.run import run
        from shadowdiffusion.benchmarks.session import Options, one_line_errors
    options = Options(model or (), bundle, task, device, threads, minutes, force, smoke, output)  # type: ignore[arg-type]
    with one_line_errors():
        run(options, size or (), batch or (), sys.argv[1:])
