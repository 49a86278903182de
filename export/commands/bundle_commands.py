"""Commands for a finished bundle: inspect, prune, pack, verify, debug."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from shadowdiffusion.export.commands.console import one_line_errors, reporter, terminal_bar
from shadowdiffusion.export.errors import ExportError


def _located(path: Path) -> Path:
    from shadowdiffusion.runtime.bundle.opening import locate

    return locate(path)


Folder = Annotated[
    Path,
    typer.Argument(
        help="Folder of the bundle, or the name of a built-in one.",
        metavar="BUNDLE",
        show_default=False,
        callback=_located,
    ),
]
Bundle = Annotated[
    Path,
    typer.Argument(
        help="A bundle: folder, zip file, or the name of a built-in one.",
        metavar="BUNDLE",
        show_default=False,
        callback=_located,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="A bundle (folder, zip file, or the name of a built-in one), or an engine in one.",
            metavar="PATH",
            show_default=False,
            callback=_located,
        ),
    ],
    layers: Annotated[bool, typer.Option("--layers", help="List all layers, not only the heaviest.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a bundle or an engine is and what it was made from, after verifying its files.

    Inputs and outputs, layers with their precision and estimated cost, size, accuracy, and which changes to the
    networks are exact and which approximate.
    """
    with one_line_errors():
        from shadowdiffusion.export.commands.results import show
        from shadowdiffusion.export.inspection import inspect as facts_of
        from shadowdiffusion.export.inspection_text import lines

        with terminal_bar("reading the graphs"):
            facts = facts_of(path, layers)
        show(facts, lines(facts), as_json)


def prune(
    bundle: Folder,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            help="An engine to drop, whatever its state, and no other; may be repeated.  [default: all of no use]",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop engines that are damaged, or were built from other networks or by another version of the builder; or those
    that are named.
    """
    with one_line_errors():
        from shadowdiffusion.export.commands.results import Pruned, show
        from shadowdiffusion.export.engines.prune import prune as drop

        dropped = drop(bundle, dry_run, reporter(), engine or ())
    verb = "would drop" if dry_run else "dropped"
    lines = [f"{verb} {name}: {reason}" for name, reason in dropped.items()] or ["nothing to drop"]
    show(Pruned(str(bundle), dry_run, dropped), lines, as_json)


def pack(
    bundle: Folder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The zip file.", metavar="FILE.zip")],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a bundle as one zip file, which the runtime reads like the folder."""
    with one_line_errors():
        from shadowdiffusion.export.commands.results import Packed, show
        from shadowdiffusion.export.pack import pack as write

        size = write(bundle, output, force, reporter(), terminal_bar)
    show(Packed(str(output), size), [f"{output}: {size / 1e6:.1f} MB"], as_json)


def verify(
    bundle: Bundle,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Checkpoint it was exported from, to compare with PyTorch; may be repeated.",
            metavar="CHECKPOINT",
            show_default=False,
        ),
    ] = None,
    photo: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photo to compare on; may be repeated.  [default: the example photo]",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the networks of a bundle with PyTorch, and its engines with the networks, and store what was measured.

    The golden example is always run; PyTorch needs --against. Exit code 2 if anything is damaged or past its
    tolerance: those of docs/precision.md for every output of every network, at every step, and for the sampling loop;
    for the loop of an engine in lower precision the accuracy gate it was built with.
    """
    with one_line_errors():
        from shadowdiffusion.export.commands.results import Verified, show, table
        from shadowdiffusion.export.recheck import recheck, store, why_not_writable

        outcome = recheck(bundle, against or [], photo or [], reporter(), terminal_bar)
        not_stored = why_not_writable(bundle)
        if not_stored is None:
            store(bundle, outcome)
        worst = outcome.worst()
        violations = {name: violation.text for name, violation in outcome.violations.items()}
        lines = [line for name, found in outcome.verification.items() for line in [*table(name, found), ""]]
        lines += [f"{name} was not run here: {reason}" for name, reason in outcome.not_run.items()]
        lines += [f"nothing was stored: {not_stored}"] if not_stored else []
        lines += [] if worst else [f"{bundle}: verified"]
        result = Verified(str(bundle), worst is None, outcome.verification, violations, outcome.not_run, not_stored)
        show(result, lines, as_json)
        if worst:
            raise ExportError(worst)


def debug(
    bundle: Bundle,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Stored engine to look into, by its name in inspect.  [default: the graphs of --precision]",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
    precision: Annotated[
        Literal["fp16", "bf16", "int8", "fp8"],
        typer.Option(help="Of the graphs, where no engine is named: of one that was not stored, for example."),
    ] = "fp16",
    backend: Annotated[
        Literal["tensorrt", "tensorrt-rtx", "onnxruntime"], typer.Option(help="What those graphs are for.")
    ] = "tensorrt-rtx",
    photo: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photo for the inputs; may be repeated.  [default: the example photo]",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    least: Annotated[
        float | None,
        typer.Option(
            help="Signal-to-noise ratio that every layer must keep.  [default: by precision, 10 to 40]",
            metavar="DB",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option("--search/--no-search", help="Find the layers that must go back to float32, if one departs."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Find the first layer of an engine that departs from the float32 networks.

    Every value of the engine's graphs is compared on the inputs of real loops, by Polygraphy and ONNX Runtime on the
    CPU, which rounds where the graphs say. The engine itself does not run: layers that differ on a GPU alone are not
    found.
    """
    with one_line_errors():
        from shadowdiffusion.export.commands.results import show
        from shadowdiffusion.export.debugging import debug as look
        from shadowdiffusion.export.debugging import lines

        found = look(bundle, engine, backend, precision, photo or [], least, search, reporter(), terminal_bar)
        show(found, lines(found), as_json)


EXAMPLES: dict[Callable[..., None], str] = {
    inspect: """Examples:

  shadowdiffusion export inspect shadow

  shadowdiffusion export inspect bundles/shadow --json --layers
""",
    prune: """Example:

  shadowdiffusion export prune bundles/shadow --dry-run
""",
    pack: """Example:

  shadowdiffusion export pack bundles/shadow -o shadow.zip
""",
    debug: """Example:

  shadowdiffusion export debug bundles/shadow --precision fp16
""",
    verify: """Examples:

  shadowdiffusion export verify bundles/shadow --against both.safetensors

  shadowdiffusion export verify bundles/shadow --photo photo.jpg --json
""",
}
"""What `--help` ends with: lines that can be run."""
