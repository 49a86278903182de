"""`python -m benchmarks quality`, `full-size`, `native`, `wide-gamut`: what the runtime makes of photographed pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer


def quality(
    data: Annotated[Path, typer.Option("--data", help="Photographed pairs: input/mask/gt, or ISTD and SRD folders.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Annotated[str, typer.Option(help="Prefix of the folders in ISTD-like layouts.")] = "test",
    steps: Annotated[int | None, typer.Option(help="Sampling steps.  [default: the bundle's]")] = None,
    working_size: Annotated[int | None, typer.Option(help="Long side at which the networks run.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR, SSIM and LAB error against the truth, whole image at native size.

    Rows: doing nothing, border gain, the prior alone, prior and diffusion; with the mask and without.

    Example: python -m benchmarks quality --data shadow_val -o quality.jsonl
    """
    from benchmarks.quality.restoration import measure, table
    from runtime.errors import RestoreError
    from runtime.loading import load
    from training.errors import TrainingError

    rows = []
    try:
        restorer = load(bundle)
        for row in measure(restorer, data, split, steps, working_size, seed):
            rows.append(row)
            print(f"{row.photo}: {row.method}, mask {row.mask}: {row.quality.psnr:.2f} dB", file=sys.stderr, flush=True)
        if output is not None:
            manifest = restorer.bundle.manifest
            shared = {
                "bundle": manifest.name,
                "created": manifest.created,
                "steps": steps,
                "working_size": working_size,
            }
            with output.open("a", encoding="utf-8") as log:
                log.writelines(json.dumps(row.record() | shared) + "\n" for row in rows)
    except (RestoreError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(table(rows))


def full_size(
    data: Annotated[Path, typer.Option("--data", help="Photographed pairs: input/mask/gt, or ISTD and SRD folders.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Annotated[str, typer.Option(help="Prefix of the folders in ISTD-like layouts.")] = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of a result carried from the working size to the photo's, whole image and near the shadow's border.

    Rows: working images that are perfect, or restored by the networks, smaller than the photo by 2 to 8.

    Example: python -m benchmarks full-size --data shadow_val
    """
    from benchmarks.quality.full_size import measure, table

    print(table(_measured(measure, data, bundle, split, output)))


def native(
    data: Annotated[Path, typer.Option("--data", help="Photographed pairs: input/mask/gt, or ISTD and SRD folders.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Annotated[str, typer.Option(help="Prefix of the folders in ISTD-like layouts.")] = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of the networks at full size, in one piece and on tiles, against the working size.

    Example: python -m benchmarks native --data shadow_val
    """
    from benchmarks.quality.native import measure, table

    print(table(_measured(measure, data, bundle, split, output)))


def wide_gamut(
    data: Annotated[Path, typer.Option("--data", help="Photographed pairs: input/mask/gt, or ISTD and SRD folders.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Annotated[str, typer.Option(help="Prefix of the folders in ISTD-like layouts.")] = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of photos in wide colour spaces, whose colours are handled in four ways.

    Rows: working images that are perfect, a quarter of the photo, or restored by the networks.

    Example: python -m benchmarks wide-gamut --data shadow_val
    """
    from benchmarks.quality.wide_gamut import measure, table

    print(table(_measured(measure, data, bundle, split, output)))


class _Row(Protocol):
    def record(self) -> dict[str, Any]: ...


RowT = TypeVar("RowT", bound=_Row)


def _measured(
    measure: Callable[[Any, Path, str], Iterable[RowT]],
    data: Path,
    bundle: Path | None,
    split: str,
    output: Path | None,
) -> list[RowT]:
    """All rows, each written as soon as it is there; what is wrong with the input in one line."""
    from runtime.errors import RestoreError
    from runtime.loading import load
    from training.errors import TrainingError

    rows = []
    try:
        for row in measure(load(bundle), data, split):
            rows.append(row)
            if output is not None:
                with output.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row.record()) + "\n")
    except (RestoreError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    return rows
