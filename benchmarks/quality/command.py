"""`shadowdiffusion bench quality` and its kin: what the runtime makes of photographed pairs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import typer

from shadowdiffusion.benchmarks.errors import needing
from shadowdiffusion.runtime.replacing import replaced
from shadowdiffusion.training.layouts import TASKS, LayoutName, triplets

Data = Annotated[Path, typer.Option("--data", help="Folder of photographed pairs.")]
Layout = Annotated[LayoutName, typer.Option(help="How its folders are laid out, see docs/data-sets.md.")]
Split = Annotated[str, typer.Option(help="train, validation or test; or the shot in exposure stacks.")]
DEFAULT_METHODS = ("identity", "border-gain", "prior", "bundle")


def quality(
    data: Data,
    layout: Layout = "pairs",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="bundle, prior, identity, he, clahe, lime, gamma, border-gain, another bundle, or a folder of results "
            "named like the photos; may be repeated.  [default: identity, border-gain, prior, bundle]"
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="What bundle and prior mean.  [default: the built-in one for the set's task]")
    ] = None,
    split: Split = "test",
    resize: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Compare at so many pixels squared, by MATLAB's imresize; the field's is 256.  [default: native]",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.  [default: the bundle's]")] = None,
    working_size: Annotated[int | None, typer.Option(help="Long side at which the networks run.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
    table: Annotated[Path | None, typer.Option(help="Write the tables to this Markdown file, too.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Write all pictures side by side to this PNG or JPEG.")] = None,
) -> None:
    """PSNR, SSIM and LAB error of any method against the truth, beside what others published for the set.

    Photos are restored at their own size, as deployed; --resize is for the comparison.

    Example: shadowdiffusion bench quality --data shadow_val --method identity --method bundle -o quality.jsonl

    The field's protocol: shadowdiffusion bench quality --data ISTD --layout istd --resize 256
    """
    with _one_line_errors():
        from shadowdiffusion.benchmarks.errors import BenchmarkError
        from shadowdiffusion.benchmarks.measurement.machine import header
        from shadowdiffusion.benchmarks.measurement.results import append
        from shadowdiffusion.benchmarks.quality import perceptual
        from shadowdiffusion.benchmarks.quality.methods import Settings, find_methods
        from shadowdiffusion.benchmarks.quality.record import Protocol
        from shadowdiffusion.benchmarks.quality.scoring import score
        from shadowdiffusion.benchmarks.quality.sheet import Sheet
        from shadowdiffusion.benchmarks.quality.table import tables

        files = triplets(data, split, layout)
        photos = [pair.name for pair in files]
        settings = Settings(steps, working_size, seed)
        methods = find_methods(method or DEFAULT_METHODS, bundle, TASKS[layout], photos, settings)
        distance, lpips = perceptual.load()
        protocol = Protocol(data.resolve().name, layout, split, resize, lpips if distance else f"skipped: {lpips}")
        pictures = Sheet(sheet, len(set(photos))) if sheet else None
        records = []
        for record in score(files, methods, header(sys.argv[1:]), protocol, distance, pictures):
            records.append(record)
            if output is not None:
                append(output, record)
            figure = f"mask {record.mask}: {record.quality.whole.psnr:.2f} dB"
            print(f"{record.photo} {record.subset}: {record.method}, {figure}", file=sys.stderr, flush=True)
        if not records:
            raise BenchmarkError(
                f"nothing was measured: {', '.join(m.name for m in methods)} need masks, {data} has none"
            )
        text = tables(records)
        print(text, end="")
        if table is not None:
            with replaced(table) as file:
                file.write(text.encode())
        if pictures is not None:
            pictures.write()


def full_size(
    data: Data,
    layout: Layout = "pairs",
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Split = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of a result carried from the working size to the photo's, whole image and near the shadow's border.

    Rows: working images that are perfect, or restored by the networks, smaller than the photo by 2 to 8.

    Example: shadowdiffusion bench full-size --data shadow_val
    """
    with needing("kernels"):  # for the guided filter
        from shadowdiffusion.benchmarks.quality.full_size import measure, table

    print(table(_measured(measure, data, layout, bundle, split, output)))


def native(
    data: Data,
    layout: Layout = "pairs",
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Split = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of the networks at full size, in one piece and on tiles, against the working size.

    Example: shadowdiffusion bench native --data shadow_val
    """
    with needing("train"):
        from shadowdiffusion.benchmarks.quality.native import measure, table

    print(table(_measured(measure, data, layout, bundle, split, output)))


def wide_gamut(
    data: Data,
    layout: Layout = "pairs",
    bundle: Annotated[Path | None, typer.Option(help="Bundle to measure.  [default: the one that is shipped]")] = None,
    split: Split = "test",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR of photos in wide colour spaces, whose colours are handled in four ways.

    Rows: working images that are perfect, a quarter of the photo, or restored by the networks.

    Example: shadowdiffusion bench wide-gamut --data shadow_val
    """
    with needing("train"):
        from shadowdiffusion.benchmarks.quality.wide_gamut import measure, table

    print(table(_measured(measure, data, layout, bundle, split, output)))


def sampling(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoint files: prior and denoiser.")],
    data: Data,
    layout: Layout = "pairs",
    rho: Annotated[float, typer.Option(help="Weight of the diffusion that everything else is tried with.")] = 0.02,
    working_size: Annotated[int, typer.Option(help="The same for the long side, in pixels.")] = 384,
    steps: Annotated[int, typer.Option(help="The same for the steps.")] = 5,
    starts: Annotated[
        list[int] | None,
        typer.Option(
            "--start",
            help="Only from the prior at this timestep; may be repeated, the first for everything else.  "
            "[default: noise, and the prior at 600, 400 and 200]",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Append one JSON record per row.")] = None,
) -> None:
    """PSNR against time for ways of sampling: steps, start, rho, clamp, mask policy, working size.

    Example: shadowdiffusion bench sampling prior.safetensors denoiser.safetensors --data shadow_val
    """
    with needing("export"):
        from shadowdiffusion.benchmarks.quality.sampling import STARTS, measure, table
        from shadowdiffusion.training.sampler import SamplerOptions

    rows = []
    with _one_line_errors():
        default = SamplerOptions(steps=steps, rho=rho, start=starts[0] if starts else None)
        for row in measure(checkpoints, data, layout, default, working_size, starts or STARTS):
            rows.append(row)
            print(table([row]).splitlines()[-1], file=sys.stderr, flush=True)
            if output is not None:
                with output.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row.record()) + "\n")
    print(table(rows))


class _Row(Protocol):
    def record(self) -> dict[str, Any]: ...


RowT = TypeVar("RowT", bound=_Row)


def _measured(
    measure: Callable[[Any, Path, LayoutName, str], Iterable[RowT]],
    data: Path,
    layout: LayoutName,
    bundle: Path | None,
    split: str,
    output: Path | None,
) -> list[RowT]:
    """All rows, each written as soon as it is there."""
    rows = []
    with _one_line_errors():
        from shadowdiffusion.runtime.selection.loading import load

        for row in measure(load(bundle), data, layout, split):
            rows.append(row)
            if output is not None:
                with output.open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row.record()) + "\n")
    return rows


@contextmanager
def _one_line_errors() -> Iterator[None]:
    from shadowdiffusion.benchmarks.errors import BenchmarkError
    from shadowdiffusion.export.errors import ExportError
    from shadowdiffusion.runtime.errors import RestoreError
    from shadowdiffusion.training.errors import TrainingError

    try:
        with needing("train"):
            yield
    except (BenchmarkError, ExportError, RestoreError, TrainingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
