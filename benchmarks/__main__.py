"""`python -m benchmarks`: measurements of bundles."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Measure bundles.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """Measure bundles."""


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


if __name__ == "__main__":
    app()
