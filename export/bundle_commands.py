"""Commands for a finished bundle: inspect, prune, pack, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from export.console import one_line_errors, reporter
from export.errors import ExportError

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.", metavar="BUNDLE", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


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
