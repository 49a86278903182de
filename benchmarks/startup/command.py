"""`shadowdiffusion bench startup`."""

from __future__ import annotations

import sys

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


def startup(
    model: Model = None,
    bundle: BundlePath = None,
    task: TaskName = "shadow",
    device: DeviceName = "auto",
    threads: Threads = None,
    minutes: Minutes = 5.0,
    force: Force = False,
    smoke: Smoke = False,
    output: Output = None,
) -> None:
    """Time of new processes: --help, import, an open bundle, and a first photo with what it is made of.

    Files are in the system's cache, as on a machine in use.

    Example: shadowdiffusion bench startup --model bundle --minutes 2
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.session import Options, one_line_errors
        from shadowdiffusion.benchmarks.startup.run import run
    options = Options(model or (), bundle, task, device, threads, minutes, force, smoke, output)  # type: ignore[arg-type]
    with one_line_errors():
        run(options, sys.argv[1:])
