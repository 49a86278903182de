"""`python -m benchmarks`: measurements of bundles and kernels."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure bundles and kernels.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Measure bundles and kernels."""


@app.command()
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
    from benchmarks.quality import measure, table
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


@app.command()
def kernels(
    kernel: Annotated[list[str] | None, typer.Option(help="Only this kernel; may be repeated.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Only this side of the images; may be repeated.")] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Only so many images at once; may be repeated.")] = None,
    minutes: Annotated[float, typer.Option(help="Begin no further case after that long.")] = 6.0,
    force: Annotated[bool, typer.Option("--force", help="Keep times that spread too wide, marked as noisy.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Try the whole program on the CPU, tiny; nothing is measured or stored.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for results/ and reports/.  [default: benchmarks; --smoke: none]"),
    ] = None,
) -> None:
    """Bandwidth of every Triton kernel against a copy, PyTorch eager and torch.compile; needs a GPU.

    Every result is stored as soon as it is there. Usual sizes: 256, 512 and 1024 pixels, batches of 1, 4 and 16, and
    for group_norm_silu all sizes of the paper's network on one image of 256 pixels.

    Example: python -m benchmarks kernels --kernel prior_step --batch 1
    """
    if smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # Triton decides when it is imported
    from benchmarks.errors import BenchmarkError
    from benchmarks.results import FOLDER

    try:
        from benchmarks.kernel_run import Request, run

        folder = None if smoke and output is None else output or FOLDER
        run(Request(kernel or (), size or (), batch or (), minutes, force, smoke, folder), sys.argv[1:])
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: pip install '.[benchmark,kernels]'", file=sys.stderr)
        raise typer.Exit(2) from None
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


@app.command()
def report(
    folder: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder with results/.  [default: benchmarks]")
    ] = None,
) -> None:
    """Write the reports anew from the stored results.

    Example: python -m benchmarks report
    """
    from benchmarks.errors import BenchmarkError
    from benchmarks.reports import write_reports
    from benchmarks.results import FOLDER

    try:
        for file in write_reports(folder or FOLDER):
            print(file)
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


@app.command()
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
    from benchmarks.full_size import measure, table
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
    print(table(rows))


@app.command()
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
    from benchmarks.wide_gamut import measure, table
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
    print(table(rows))


if __name__ == "__main__":
    app()
