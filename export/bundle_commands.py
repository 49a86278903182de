"""Commands for a finished bundle: build-engine, inspect, prune, pack, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from export.console import fail, one_line_errors, reporter, terminal_bar
from export.errors import ExportError

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.", metavar="BUNDLE", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Build even if the bundle has an engine that fits.")]
Backend = Annotated[
    Literal["tensorrt", "tensorrt-rtx"],
    typer.Option(help="TensorRT (needs the GPU it builds for), or TensorRT for RTX (needs none).", show_default=False),
]
Precision = Annotated[
    Literal["fp32", "fp16"],
    typer.Option(help="fp16: convolutions and products in float16 if that costs little, statistics in float32."),
]
Profile = Annotated[
    str | None,
    typer.Option(
        help="Image sizes: HxW, or min:opt:max such as 128x128:256x256:512x512.  [default: up to the working size]",
        metavar="SIZES",
        show_default=False,
    ),
]
Batch = Annotated[str, typer.Option(help="Images at once: N, or min:opt:max.", metavar="SIZES")]
Sm = Annotated[
    list[str] | None,
    typer.Option(
        help="Compute capabilities to build for without a GPU, such as 89,120; may be repeated; tensorrt-rtx only.  "
        "[default: that of this machine's GPU, or any]",
        metavar="SM",
        show_default=False,
    ),
]
Level = Annotated[int, typer.Option(help="How hard the builder tries.", min=0, max=5)]
Workspace = Annotated[
    int | None,
    typer.Option(
        help="Scratch memory of the builder, MiB.  [default: the builder's]", min=1, metavar="MIB", show_default=False
    ),
]

ENGINE_EXAMPLE = """Example, which needs no GPU:

  python -m export build-engine bundles/shadow --backend tensorrt-rtx --sm 89,120 --precision fp16 --profile 256x256
"""


def build_engine(
    bundle: Folder,
    backend: Backend,
    precision: Precision = "fp32",
    profile: Profile = None,
    batch: Batch = "1:1:4",
    sm: Sm = None,
    optimization_level: Level = 3,
    workspace: Workspace = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compile the networks of a bundle for a GPU, and store the engines in it.

    An engine that fits is used again; otherwise the command says why it builds. The engines have not been run on a
    GPU yet, and `python -m runtime` does not use them.
    """
    report = reporter()
    with one_line_errors():
        from export.engines.build import build_engines
        from export.engines.key import EngineOptions

        options = EngineOptions(
            backend, precision, profile, batch, _sm_list(sm or []), optimization_level, workspace, force
        )
        outcome = build_engines(bundle, options, report, terminal_bar)
    engine, record = outcome.engine, outcome.engine.record
    if as_json:
        import msgspec

        result = {"bundle": str(bundle), "engine": engine.name, "path": str(engine.path), "built": outcome.built}
        print(json.dumps(result | msgspec.to_builtins(record)))
        return
    print(f"{engine.path}: {'built' if outcome.built else 'stored'}, {record.status}")
    for name, network in record.networks.items():
        print(f"  {name:24} {record.files[network.file].size / 1e6:6.1f} MB, built in {network.seconds:.1f} s")
    for note in record.notes:
        print(f"  {note.exactness:24} {note.name}: {note.detail}")


def inspect(
    path: Annotated[
        Path,
        typer.Argument(help="A bundle (folder or zip file), or an engine in one.", metavar="PATH", show_default=False),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a bundle or an engine is and what it was made from, after verifying its files."""
    with one_line_errors():
        from export.inspection import inspect as facts_of
        from export.inspection import lines

        facts = facts_of(path)
    print(json.dumps(facts) if as_json else "\n".join(lines(facts)))


def prune(
    bundle: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Drop engines that are damaged, or were built from other networks or by another version of the builder."""
    with one_line_errors():
        from export.engines.prune import prune as drop

        dropped = drop(bundle, dry_run, reporter())
    for name, reason in dropped.items():
        print(f"{'would drop' if dry_run else 'dropped'} {name}: {reason}")
    if not dropped:
        print("nothing to drop")


def pack(
    bundle: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip file.", metavar="FILE.zip")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a bundle as one zip file, which the runtime reads like the folder."""
    with one_line_errors():
        from export.pack import pack as write

        size = write(bundle, output, force, reporter())
    print(f"{output}: {size / 1e6:.1f} MB")


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle: folder or zip file.", metavar="BUNDLE", show_default=False)],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint it was exported from, to compare with PyTorch; may be repeated.",
            metavar="CHECKPOINT",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the files and the golden example of a bundle, compare it with its checkpoints, and store what was measured.

    Exit code 2 if anything is damaged or differs by more than rounding.
    """
    report, why_not = reporter(), ""
    with one_line_errors():
        from export.recheck import recheck, store

        found = recheck(bundle, against or [], report)
        try:
            store(bundle, found)
        except ExportError as error:  # a packed or read-only bundle is as good as any other
            why_not = str(error)
    if as_json:
        print(json.dumps({"bundle": str(bundle), "accuracy": found, "stored": not why_not}))
        return
    print(f"{bundle}: verified" + (f", but nothing was stored: {why_not}" if why_not else ""))
    for name, value in found.items():
        print(f"  {name:24} {value:6.1f} dB")


def _sm_list(texts: list[str]) -> tuple[int, ...]:
    parts = [part for text in texts for part in text.replace(",", " ").split()]
    if wrong := [part for part in parts if not (part.isascii() and part.isdigit())]:
        fail(f"SM {wrong[0]!r} is not a compute capability such as 89 (for 8.9)")
    return tuple(map(int, parts))
