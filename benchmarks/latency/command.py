"""`shadowdiffusion bench latency`."""

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


def latency(
    model: Model = None,
    bundle: BundlePath = None,
    task: TaskName = "shadow",
    size: Annotated[list[int] | None, typer.Option(help="Side of the images; may be repeated.  [default: 256]")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Images at once; may be repeated.  [default: 1]")] = None,
    steps: Annotated[
        list[int] | None, typer.Option(help="Steps of the sampler; may be repeated.  [default: 5, and 25 for a few]")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="images, photo or stages; may be repeated.  [default: all]")
    ] = None,
    contestant: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    device: DeviceName = "auto",
    threads: Threads = None,
    minutes: Minutes = 40.0,
    force: Force = False,
    smoke: Smoke = False,
    output: Output = None,
) -> None:
    """Time of whole restorations and of their parts, against other ways to run the same networks.

    Everybody races in one process and is compared with the float32 reference sampler first. A race lasts five rounds at
    least, and engines are built once, so that the minutes may be exceeded.

    Example: shadowdiffusion bench latency --model paper --steps 5 --contestant authors --contestant bundle
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.latency.run import Request, run
        from shadowdiffusion.benchmarks.session import Options, one_line_errors
    options = Options(model or (), bundle, task, device, threads, minutes, force, smoke, output)  # type: ignore[arg-type]
    request = Request(options, size or (), batch or (), steps or (), scope or (), contestant or ())
    with one_line_errors():
        run(request, sys.argv[1:])
