"""`python -m training`: fit, average, evaluate, noise-levels, import-checkpoint, contact-sheet, make-pairs."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shadowdiffusion.training.errors import TrainingError
from shadowdiffusion.training.layouts import LayoutName

if TYPE_CHECKING:
    from shadowdiffusion.training.evaluate import Quality

app = typer.Typer(
    help="Train, evaluate and import the networks of ShadowDiffusion.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Option("--data", help="Folder with the photos or the photographed pairs.")]
Config = Annotated[str, typer.Option("--config", help="TOML file, or the name of a shipped configuration.")]
Network = Annotated[
    Literal["prior", "denoiser"] | None, typer.Option(help="Network to train instead of the configured.")
]


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except ImportError as error:
        from shadowdiffusion.runtime.packages import missing_package

        print(f"error: {missing_package(error, 'train')}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("interrupted: resume from the newest checkpoint with --resume", file=sys.stderr)
        raise typer.Exit(130) from None


@app.command()
def fit(
    config: Config,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for checkpoints and logs.")],
    network: Network = None,
    resume: Annotated[
        Path | None, typer.Option(help="A step_N folder, or the checkpoints folder for its newest.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Checkpoint whose weights to begin with, of any task (fine-tuning).")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(help="Checkpoint of the finished prior that a [from_prior] denoiser is trained on.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Train for this many steps instead of the configured.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed instead of the configured.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Train one network.

    Example: shadowdiffusion train fit --config shadow-small-prior --data photos -o runs/prior

    A published data set: shadowdiffusion train fit --config shadow-istd --network prior --data ISTD -o runs/istd-prior

    Several GPUs or machines: accelerate launch -m shadowdiffusion.training fit ...
    """
    with _one_line_errors():
        from msgspec.structs import replace

        from shadowdiffusion.training.config import load_config
        from shadowdiffusion.training.fit import fit as run

        chosen = load_config(config, network)
        try:
            if steps is not None:
                chosen = replace(chosen, steps=steps)
            if seed is not None:
                chosen = replace(chosen, seed=seed)
        except ValueError as error:
            raise TrainingError(str(error)) from None
        best = run(chosen, data, output, resume, init, prior, quiet)
        if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
            print(f"best checkpoint: {best}")


@app.command()
def average(
    one: Annotated[Path, typer.Argument(help="Checkpoint of one stage of a training.")],
    other: Annotated[Path, typer.Argument(help="Checkpoint of a later stage.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
    share: Annotated[float, typer.Option(help="Of the later stage in the mean, in [0, 1].")] = 0.5,
) -> None:
    """Average the weights of two stages of one training."""
    with _one_line_errors():
        from shadowdiffusion.training.average import averaged
        from shadowdiffusion.training.checkpoint import load_checkpoints, save_checkpoint

        save_checkpoint(output, averaged(load_checkpoints(one), load_checkpoints(other), share))


@app.command()
def evaluate(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Checkpoint files: prior and denoiser, one with both, or the prior alone.")
    ],
    data: Data,
    layout: Annotated[
        LayoutName, typer.Option(help="How the set's folders are laid out, see docs/data-sets.md.")
    ] = "pairs",
    split: Annotated[str, typer.Option(help="train, validation or test; or the shot in exposure stacks.")] = "test",
    mask: Annotated[Literal["given", "blind", "both"], typer.Option(help="With the masks, without, or both.")] = "both",
    steps: Annotated[int, typer.Option(help="Sampling steps S.")] = 5,
    eta: Annotated[float, typer.Option(help="0 = DDIM, 1 = ancestral noise.")] = 0.0,
    rho: Annotated[float, typer.Option(help="Weight of the diffusion estimate against the prior (Eq. 13).")] = 0.2,
    rho_schedule: Annotated[
        Literal["constant", "geometric", "linear"], typer.Option(help="How rho grows.")
    ] = "constant",
    rho_gamma: Annotated[float, typer.Option(help="Factor or increment of the schedule.")] = 1.0,
    mask_policy: Annotated[
        Literal["input", "predicted", "late", "closed-form"], typer.Option(help="Which mask each step sees.")
    ] = "input",
    data_consistency: Annotated[bool, typer.Option(help="Apply the prior update in every step.")] = True,
    clamp: Annotated[bool, typer.Option(help="Clamp the clean estimate to [-1, 1].")] = False,
    start: Annotated[int | None, typer.Option(help="Start from the prior at this timestep, not from noise.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON record per photo instead of the table.")] = False,
) -> None:
    """PSNR and SSIM on photographed pairs at native size: input, prior alone, prior and diffusion.

    Example: shadowdiffusion train evaluate prior.safetensors denoiser.safetensors --data shadow_val --start 200

    Exposure stacks, SCENE/low.jpg against SCENE/mid.jpg: --data stacks --layout stacks --split low
    """
    with _one_line_errors():
        from shadowdiffusion.training.checkpoint import load_checkpoints
        from shadowdiffusion.training.evaluate import MASKS, mean_qualities
        from shadowdiffusion.training.evaluate import evaluate as run
        from shadowdiffusion.training.layouts import triplets
        from shadowdiffusion.training.sampler import SamplerOptions

        options = SamplerOptions(
            steps=steps,
            eta=eta,
            rho=rho,
            rho_schedule=rho_schedule,
            rho_gamma=rho_gamma,
            mask_policy=mask_policy,
            data_consistency=data_consistency,
            clamp=clamp,
            start=start,
        )
        pairs = triplets(data, split, layout)
        scores = []
        if not as_json:
            print(_row("photo", "mask", ["input", "prior", "diffusion"]) + "   PSNR in dB / SSIM, native size")
        for score in run(load_checkpoints(checkpoints), pairs, options, MASKS if mask == "both" else (mask,), seed):
            scores.append(score)
            if as_json:
                print(json.dumps(dataclasses.asdict(score)), flush=True)
            else:
                print(_row(score.photo, score.mask, map(_cell, score.qualities)), flush=True)
        for kind in () if as_json else dict.fromkeys(s.mask for s in scores):
            print(_row("mean", kind, map(_cell, mean_qualities([s for s in scores if s.mask == kind]))))


@app.command("noise-levels")
def noise_levels(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoint files: prior and denoiser, or one with both.")],
    data: Data,
    layout: Annotated[LayoutName, typer.Option(help="How the set's folders are laid out.")] = "pairs",
    split: Annotated[str, typer.Option(help="train, validation or test; or the shot in exposure stacks.")] = "test",
    blind: Annotated[bool, typer.Option("--blind", help="Without the masks.")] = False,
    times: Annotated[list[int] | None, typer.Option("--time", help="Timestep; may be repeated.")] = None,
) -> None:
    """PSNR of the denoiser's own estimate by noise level, beside the prior's: is there anything to gain?

    Example: shadowdiffusion train noise-levels prior.safetensors denoiser.safetensors --data shadow_val
    """
    with _one_line_errors():
        from shadowdiffusion.training.checkpoint import load_checkpoints
        from shadowdiffusion.training.layouts import triplets
        from shadowdiffusion.training.noise_levels import TIMES, mean_levels

        model, pairs = load_checkpoints(checkpoints), triplets(data, split, layout)
        print("   t   noise   prior  from prior  from clean   PSNR in dB, native size")
        for level in mean_levels(model, pairs, blind, times or TIMES):
            figures = f"{level.prior:7.2f} {level.from_prior:11.2f} {level.from_clean:11.2f}"
            print(f"{level.t:4d} {level.noise:7.4f} {figures}", flush=True)


def _cell(quality: Quality | None) -> str:
    return "-" if quality is None else f"{quality.psnr:.2f}/{quality.ssim:.3f}"


def _row(photo: str, mask: str, cells: Iterable[str]) -> str:
    return f"{photo:<20} {mask:<6}" + "".join(f" {cell:>12}" for cell in cells)


@app.command("import-checkpoint")
def import_checkpoint(
    released: Annotated[Path, typer.Argument(help="The authors' *_gen.pth.", metavar="PTH")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Checkpoint to write (.safetensors).")],
) -> None:
    """Convert the authors' released denoiser weights to a checkpoint, which `shadowdiffusion export onnx` takes.

    Their illumination map, h = y / (x + 5e-5), goes with it.

    Example: shadowdiffusion train import-checkpoint I1000_E10_gen.pth -o authors.safetensors
    """
    with _one_line_errors():
        from shadowdiffusion.training.import_checkpoint import import_checkpoint as run

        run(released, output)
        print(f"wrote {output}: shadowdiffusion export onnx {output} -o BUNDLE makes a bundle of it")


@app.command("contact-sheet")
def contact_sheet(
    config: Config,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Picture to write (PNG or JPEG).")],
    count: Annotated[int, typer.Option(help="Number of pairs.", min=1)] = 48,
) -> None:
    """Draw pairs as training sees them, degraded beside clean, into one picture.

    Example: shadowdiffusion train contact-sheet --config shadow-small-prior --data photos -o sheet.png
    """
    with _one_line_errors():
        from shadowdiffusion.training.config import load_config
        from shadowdiffusion.training.contact_sheet import write_contact_sheet
        from shadowdiffusion.training.fit import open_data

        write_contact_sheet(open_data(load_config(config), data)[0], output, count)
        print(f"wrote {output}")


@app.command("make-pairs")
def make_pairs(
    config: Config,
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder to write.")],
    count: Annotated[int, typer.Option(help="Number of pairs.", min=1)] = 24,
    size: Annotated[int | None, typer.Option(help="Side in pixels.  [default: the configured crop's]", min=16)] = None,
) -> None:
    """Write degraded photos and their truth to files, made of the validation photos: pairs to score methods on.

    Example: shadowdiffusion train make-pairs --config shadow-small-prior --data photos -o made --size 384

    Then: shadowdiffusion bench quality --data made --sheet made.jpg
    """
    with _one_line_errors():
        import msgspec

        from shadowdiffusion.training.config import load_config
        from shadowdiffusion.training.fit import open_data
        from shadowdiffusion.training.made_pairs import write_pairs

        chosen = load_config(config)
        if size is not None:
            crop = msgspec.structs.replace(chosen.data.crop, size=size)
            chosen = msgspec.structs.replace(chosen, data=msgspec.structs.replace(chosen.data, crop=crop))
        write_pairs(open_data(chosen, data)[1], output, count, everywhere=chosen.task != "shadow")
        print(f"wrote {count} pairs to {output}")


def main(program: str = "python -m training") -> None:
    """Run the command line.

    Args:
        program: How it was called, for `--help`.
    """
    app(prog_name=program)
