"""Command line: `shadowdiffusion restore PHOTO...` and `shadowdiffusion info`.

Everything heavy is imported inside the commands, so that `--help` answers at once. Exit codes: 0 all
restored, 1 some photos of several failed, 2 bad usage or the only photo failed. Errors are one line on
stderr.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runtime.errors import RestoreError

if TYPE_CHECKING:
    from runtime.bundle import Bundle, Note, Verification

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Remove shadows from photos, and correct low light or exposure, with an exported bundle.",
)

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="BUNDLE", help="Bundle: a folder or a zip file [built-in].")
]
BackendOption = Annotated[
    Literal["auto", "portable", "onnxruntime", "tensorrt", "tensorrt-rtx"],
    typer.Option("--backend", help="What runs the networks; portable: the bundle's own graphs, no engine."),
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where they run [a GPU if it can be used].")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", metavar="N", help="CPU threads [all cores].")]


def main() -> None:
    """Run the command line and exit with its code; every error becomes one line on stderr."""
    warnings.showwarning = lambda message, *_, **__: _complain(str(message), "warning")
    try:
        sys.exit(app(prog_name="shadowdiffusion", standalone_mode=False))
    except RestoreError as error:
        _complain(str(error))
    except typer.Abort:
        _complain("interrupted")
        sys.exit(130)
    except Exception as error:
        if not hasattr(error, "format_message"):  # a usage error of the command line parser has it
            raise
        _complain(f"{error.format_message()} (see --help)")
    sys.exit(2)


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, help="Print the version.", callback=lambda on: _version(on)),
    ] = False,
) -> None: ...


@app.command()
def restore(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos, or folders of photos.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File, or folder; default: NAME.restored.EXT beside it."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Shadow mask (white = shadow), or a folder of masks with the photos' names."),
    ] = None,
    bundle: BundleOption = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Diffusion steps [the bundle's choice].")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise; the same seed gives the same result.")] = 0,
    working_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Long side at which the networks run [the bundle's choice]."),
    ] = None,
    save_mask: Annotated[
        Path | None, typer.Option(help="Also write the shadow mask to this file, or into this folder.")
    ] = None,
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Restore photos: PNG, JPEG, WebP or TIFF, of any size."""
    from runtime.batch import plan, run
    from runtime.loading import load

    jobs = plan(photos, output, mask, save_mask)
    restorer = load(bundle, backend, device, threads, say=lambda line: _complain(line, "note"))
    restorer.bundle.table(steps)
    inputs = [job.photo for job in jobs]
    failed = 0
    for job in jobs:
        try:
            with _progress(job.photo.name, quiet) as progress:
                restore_pixels = partial(restorer, steps=steps, seed=seed, working_size=working_size, progress=progress)
                seconds = run(job, restore_pixels, inputs, overwrite)
        except RestoreError as error:
            if len(jobs) == 1:
                raise
            failed += 1
            name = str(job.photo)
            _complain(str(error) if name in str(error) else f"{name}: {error}")
        else:
            if not quiet:
                typer.echo(f"{job.photo} -> {job.target} ({seconds:.1f} s)")
    if failed:
        _complain(f"{failed} of {len(jobs)} photos failed")
        raise typer.Exit(1)


@app.command()
def info(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Bundle: a folder or a zip file [built-in].")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Run the golden example that comes with it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Describe a bundle, after verifying its files."""
    from runtime.bundle import encode_manifest
    from runtime.opening import load_bundle

    opened = load_bundle(bundle)
    typer.echo(encode_manifest(opened.manifest).decode().rstrip() if json else _describe(opened))
    if check:
        from runtime.host_loop import HostLoop
        from runtime.onnxruntime_networks import OnnxRuntimeNetworks
        from runtime.restorer import Restorer

        restorer = Restorer(opened, HostLoop(opened, OnnxRuntimeNetworks(opened)))
        typer.echo(f"golden check passed: {restorer.check():.1f} dB", err=json)


def _describe(bundle: "Bundle") -> str:
    """A manifest as aligned lines for people."""
    manifest = bundle.manifest
    model, sampling, made = manifest.model, manifest.sampling, manifest.versions
    prior = f"{model.prior_parameters:,} parameters" if model.prior_parameters else "none"
    start = "pure noise" if sampling.start is None else f"the prior's image at t = {sampling.start}"
    steps = ", ".join(map(str, sampling.supported_steps))
    consistency = "on" if sampling.data_consistency else "off"
    growth = "" if sampling.rho_schedule == "constant" else f" by {sampling.rho_gamma:g}"
    rho = sampling.tables[str(sampling.default_steps)][0].rho
    rows = [
        ("bundle", f"{manifest.name} ({manifest.task}), made {manifest.created}"),
        ("format", f"version {manifest.format_version}"),
        ("folder", f"{bundle.path}"),
        ("denoiser", f"{model.denoiser_size}, {model.denoiser_parameters:,} parameters"),
        ("prior", prior),
        ("sizes", f"long side {model.working_size} pixels, multiples of {model.multiple}"),
        ("steps", f"{sampling.default_steps} (of {steps}), from {start}, eta {sampling.eta:g}"),
        ("update", f"data consistency {consistency}, rho {rho:g} {sampling.rho_schedule}{growth}"),
        ("mask policy", sampling.mask_policy),
        ("clamp", "on" if sampling.clamp else "off"),
        ("made by", f"shadowdiffusion {made.shadowdiffusion}, torch {made.torch}, onnx {made.onnx}"),
        ("files", ", ".join(f"{name} ({entry.size:,} bytes)" for name, entry in manifest.files.items())),
        *(("accuracy", f"{name} {_summary(found)}") for name, found in manifest.verification.items()),
        *((note.exactness, f"{note.name}: {note.detail}{_cost(note)}") for note in manifest.notes),
    ]
    return "\n".join(f"{label:<12} {text}" for label, text in rows)


def _summary(found: "Verification") -> str:
    """The verdict on one implementation and the figures of what it returns in the end."""
    ends = {key: value for key, value in found.differences.items() if key.endswith("loop") or key == "golden"}
    figures = ", ".join(f"{key} {value.psnr:.1f} dB" for key, value in ends.items())
    return f"against {found.against} {'passed' if found.passed else 'FAILED'} on {found.created}: {figures}"


def _cost(note: "Note") -> str:
    return "" if note.psnr is None else f" (costs: {note.psnr:.1f} dB)"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"shadowdiffusion {version('shadowdiffusion')}")
        except PackageNotFoundError:
            typer.echo("shadowdiffusion, not installed as a package")
        raise typer.Exit


@contextmanager
def _progress(name: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar over the diffusion steps on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _complain(message: str, kind: str = "error") -> None:
    typer.echo(f"{kind}: {' '.join(message.split())}", err=True)
