"""`python -m benchmarks latency`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def latency(
    model: Annotated[
        list[str] | None, typer.Option(help="bundle or paper (the paper's size, random weights).  [default: both]")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="The bundle.  [default: the built-in one of the task]")] = None,
    task: Annotated[str, typer.Option(help="shadow, low-light or exposure: which built-in bundle.")] = "shadow",
    size: Annotated[list[int] | None, typer.Option(help="Side of the images; may be repeated.  [default: 256]")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Images at once; may be repeated.  [default: 1]")] = None,
    steps: Annotated[
        list[int] | None, typer.Option(help="Steps of the sampler; may be repeated.  [default: 5, and 25 for a few]")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="images, photo or stages; may be repeated.  [default: all]")
    ] = None,
    contestant: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of everybody.  [default: one per core]")] = None,
    minutes: Annotated[float, typer.Option(help="Divide that long among all races.")] = 40.0,
    force: Annotated[bool, typer.Option("--force", help="Keep times that spread too wide, marked as noisy.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the whole program, tiny; nothing is measured or stored.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results/.  [default: benchmarks; --smoke: none]"),
    ] = None,
) -> None:
    """Time of whole restorations and of their parts, against other ways to run the same networks.

    Everybody races in one process and is compared with the float32 reference sampler first. A race lasts five rounds at
    least, and engines are built once, so that the minutes may be exceeded.

    Example: python -m benchmarks latency --model paper --steps 5 --contestant authors --contestant bundle
    """
    from benchmarks.errors import BenchmarkError
    from benchmarks.measurement.results import FOLDER

    try:
        from benchmarks.latency.run import Request, run
        from export.errors import ExportError
        from runtime.errors import RestoreError
        from training.errors import TrainingError
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: pip install '.[benchmark,export]'", file=sys.stderr)
        raise typer.Exit(2) from None
    folder = None if smoke and output is None else output or FOLDER
    wanted = (size or (), batch or (), steps or (), scope or (), contestant or ())
    request = Request(model or (), bundle, task, *wanted, device, threads, minutes, force, smoke, folder)  # type: ignore[arg-type]
    try:
        run(request, sys.argv[1:])
    except (BenchmarkError, ExportError, RestoreError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
