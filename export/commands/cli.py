"""`python -m export`: turn checkpoints into a bundle that runs without PyTorch, and look after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from shadowdiffusion.export.bundle import Task as TaskName
from shadowdiffusion.export.commands import bundle_commands, engine_commands
from shadowdiffusion.export.commands.console import one_line_errors, reporter, terminal_bar
from shadowdiffusion.export.passes.catalog import choose
from shadowdiffusion.export.sms import SmCommand, sm_list

app = typer.Typer(name="python -m export", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

EXAMPLE = """Example:

  shadowdiffusion export onnx prior.safetensors denoiser.safetensors -o new
"""

KERNELS_EXAMPLE = """Example:

  shadowdiffusion export kernels bundles/shadow --sm 80 90
"""

Checkpoints = Annotated[
    list[Path],
    typer.Argument(help="Checkpoint files: one with both networks, or one for each network.", metavar="CHECKPOINT..."),
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the new bundle.", metavar="BUNDLE")]
Name = Annotated[
    str | None, typer.Option(help="Name in the manifest.  [default: the folder's name]", show_default=False)
]
Task = Annotated[
    TaskName | None,
    typer.Option(help="What the bundle is for.  [default: the checkpoints' task]", show_default=False),
]
Steps = Annotated[int, typer.Option(help="Denoiser evaluations a photo gets when its user does not say.")]
Eta = Annotated[float, typer.Option(help="Fresh noise per step: 0 = DDIM, 1 = ancestral.")]
Rho = Annotated[float, typer.Option(help="Weight of the diffusion estimate against the degradation model.")]
RhoSchedule = Annotated[
    Literal["constant", "geometric", "linear"], typer.Option(help="How rho changes from step to step.")
]
RhoGamma = Annotated[float, typer.Option(help="Growth factor (geometric) or increment (linear) of rho per step.")]
MaskPolicy = Annotated[
    Literal["input", "predicted", "late", "closed-form"],
    typer.Option(help="Which mask the denoiser sees after the first step."),
]
DataConsistency = Annotated[
    bool | None,
    typer.Option(
        "--data-consistency/--no-data-consistency",
        help="Tie each estimate to the degradation model (Eq. 13).  [default: on where there is a prior]",
        show_default=False,
    ),
]
DegradationForm = Annotated[
    Literal["clamped", "authors"] | None,
    typer.Option(
        help="Illumination map h: (y + 1e-4) / (x + 1e-4) within [0.01, 4], or the authors' y / (x + 5e-5).  "
        "[default: the checkpoints']",
        show_default=False,
    ),
]
Clamp = Annotated[bool, typer.Option("--clamp/--no-clamp", help="Clamp each estimate to [-1, 1].")]
Start = Annotated[
    int | None,
    typer.Option(
        help="Timestep at which sampling starts from the prior's image.  [default: from noise]",
        show_default=False,
    ),
]
WorkingSize = Annotated[int, typer.Option(help="Default long side at which the networks run, in pixels.", min=16)]
With = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        help="Graph pass to run although it is approximate: half-weights halves the size, at a cost that is measured.",
        metavar="PASS",
        show_default=False,
    ),
]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Graph pass to leave out: time-table or fold.", metavar="PASS", show_default=False),
]
Photos = Annotated[
    list[Path] | None,
    typer.Option(
        "--verify-photo",
        help="Photo to compare networks on; may be repeated.  [default: the example photo]",
        metavar="PATH",
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.callback()
def main_options() -> None:
    """Turn checkpoints into a bundle that runs without PyTorch, and look after it."""


@app.command(epilog=EXAMPLE)
def onnx(
    checkpoints: Checkpoints,
    output: Output,
    name: Name = None,
    task: Task = None,
    steps: Steps = 5,
    eta: Eta = 0.0,
    rho: Rho = 0.2,
    rho_schedule: RhoSchedule = "constant",
    rho_gamma: RhoGamma = 1.0,
    mask_policy: MaskPolicy = "input",
    data_consistency: DataConsistency = None,
    degradation_form: DegradationForm = None,
    clamp: Clamp = False,
    start: Start = None,
    working_size: WorkingSize = 512,
    with_: With = None,
    without: Without = None,
    verify_photo: Photos = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Export checkpoints to a bundle of ONNX networks, and verify it against PyTorch.

    A bundle that differs from PyTorch by more than rounding is not written. The authors' released denoiser (*_gen.pth)
    becomes a checkpoint by `shadowdiffusion train import-checkpoint`.
    """
    started = time.perf_counter()
    report = reporter()
    with one_line_errors():
        from shadowdiffusion.export.bundle import BundleOptions, build_bundle, check_target
        from shadowdiffusion.export.commands.results import Exported, show, table

        passes = choose(with_ or (), without or (), "export")
        check_target(output, force)  # before the seconds that importing PyTorch and reading checkpoints take
        from shadowdiffusion.training.checkpoint import load_checkpoints
        from shadowdiffusion.training.degradation import FORMS
        from shadowdiffusion.training.sampler import SamplerOptions

        report("reading " + ", ".join(str(path) for path in checkpoints))
        model = load_checkpoints(checkpoints)
        sampling = SamplerOptions(
            steps=steps,
            eta=eta,
            rho=rho,
            rho_schedule=rho_schedule,
            rho_gamma=rho_gamma,
            mask_policy=mask_policy,
            data_consistency=model.prior is not None if data_consistency is None else data_consistency,
            clamp=clamp,
            start=start,
        )
        options = BundleOptions(
            sampling=sampling,
            name=name or output.resolve().name,
            task=task,
            working_size=working_size,
            passes=passes,
            photos=tuple(verify_photo or ()),
            force=force,
            illumination=FORMS[degradation_form] if degradation_form else None,
        )
        manifest = build_bundle(model, output, options, report, terminal_bar)
        size, seconds = sum(entry.size for entry in manifest.files.values()), time.perf_counter() - started
        lines = [f"{output}: {size / 1e6:.1f} MB in {seconds:.1f} s, verified against PyTorch"]
        lines += [line for found in manifest.verification.items() for line in table(*found)]
        show(Exported(str(output), size, round(seconds, 2), manifest.verification, manifest.notes), lines, as_json)


@app.command(cls=SmCommand, epilog=KERNELS_EXAMPLE)
def kernels(
    bundle: bundle_commands.Folder,
    sm: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute capabilities, such as 80 90 (for 8.0 and 9.0).  [default: all supported]",
            metavar="SM...",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compile the GPU kernels that a bundle needs and add them to it; needs no GPU.

    Kernels that it has for other compute capabilities stay, and are compiled again if they are of another version.
    """
    started = time.perf_counter()
    with one_line_errors("kernels"):
        from shadowdiffusion.export.commands.results import Compiled, show
        from shadowdiffusion.export.kernels import add_kernels

        manifest = add_kernels(bundle, sm_list(sm or []), reporter(), terminal_bar)
        files = [build.file for kernel in manifest.kernels for build in kernel.builds]
        size, seconds = sum(manifest.files[file].size for file in files), time.perf_counter() - started
        result = Compiled(str(bundle), len(manifest.kernels), len(files), size, round(seconds, 2))
        made = f"{result.kernels} kernels in {result.files} files, {size / 1e6:.1f} MB, in {seconds:.1f} s"
        show(result, [f"{bundle}: {made}"], as_json)


app.command(cls=SmCommand, epilog=engine_commands.EXAMPLE)(engine_commands.build_engine)
for command, example in bundle_commands.EXAMPLES.items():
    app.command(epilog=example)(command)


def main(program: str = "python -m export") -> None:
    """Run the command line.

    Args:
        program: How it was called, for `--help`.
    """
    app(prog_name=program)
