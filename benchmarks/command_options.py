"""Options that the benchmarks of whole restorations share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    list[str] | None, typer.Option(help="bundle or paper (the paper's size, random weights).  [default: both]")
]
BundlePath = Annotated[
    Path | None, typer.Option("--bundle", help="The bundle.  [default: the built-in one of the task]")
]
TaskName = Annotated[str, typer.Option("--task", help="shadow, low-light or exposure: which built-in bundle.")]
DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of everybody.  [default: one per core]")]
Minutes = Annotated[float, typer.Option(help="Divide that long among everything that is measured.")]
Force = Annotated[bool, typer.Option("--force", help="Keep times that spread too wide, marked as noisy.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="Try the whole program, tiny; nothing is measured or stored.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for results/.  [default: benchmarks; --smoke: none]"),
]
