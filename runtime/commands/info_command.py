"""`shadowdiffusion info`: what a bundle is, and whether it works here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shadowdiffusion.runtime.bundle.folder import Bundle, Illumination, Note, Verification


def info(
    bundle: Annotated[
        Path | None,
        typer.Argument(
            metavar="[BUNDLE]", help="Bundle: a folder, a zip file, or the name of a built-in one [shadow]."
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Run the golden example that comes with it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Describe a bundle, after verifying its files."""
    from shadowdiffusion.runtime.bundle.folder import encode_manifest
    from shadowdiffusion.runtime.bundle.opening import load_bundle

    opened = load_bundle(bundle)
    typer.echo(encode_manifest(opened.manifest).decode().rstrip() if json else _describe(opened))
    if check:
        from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks
        from shadowdiffusion.runtime.loop.host_loop import HostLoop
        from shadowdiffusion.runtime.restorer import Restorer

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
        ("degradation", _form(model.illumination)),
        ("mask policy", sampling.mask_policy),
        ("clamp", "on" if sampling.clamp else "off"),
        ("made by", f"shadowdiffusion {made.shadowdiffusion}, torch {made.torch}, onnx {made.onnx}"),
        ("files", ", ".join(f"{name} ({entry.size:,} bytes)" for name, entry in manifest.files.items())),
        *(("accuracy", f"{name} {_summary(found)}") for name, found in manifest.verification.items()),
        *((note.exactness, f"{note.name}: {note.detail}{_cost(note)}") for note in manifest.notes),
    ]
    return "\n".join(f"{label:<12} {text}" for label, text in rows)


def _form(of: "Illumination") -> str:
    return f"h = (y + {of.added_to_photo:g}) / (x + {of.epsilon:g}), within [{of.floor:g}, {of.ceiling:g}]"


def _summary(found: "Verification") -> str:
    """The verdict on one implementation and the figures of what it returns in the end."""
    ends = {key: value for key, value in found.differences.items() if key.endswith("loop") or key == "golden"}
    figures = ", ".join(f"{key} {value.psnr:.1f} dB" for key, value in ends.items())
    return f"against {found.against} {'passed' if found.passed else 'FAILED'} on {found.created}: {figures}"


def _cost(note: "Note") -> str:
    return "" if note.psnr is None else f" (costs: {note.psnr:.1f} dB)"
