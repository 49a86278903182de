"""Quality against time for ways of sampling: steps, start, rho, clamp, mask policy and working size, on real pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shadowdiffusion.benchmarks.quality.metrics import psnr
from shadowdiffusion.export.bundle import BundleOptions, build_bundle
from shadowdiffusion.export.passes.catalog import TIME_TABLE
from shadowdiffusion.export.schedule import sampling_section
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.restorer import Restorer
from shadowdiffusion.runtime.selection.loading import load
from shadowdiffusion.training.checkpoint import load_checkpoints
from shadowdiffusion.training.datasets import read_photo
from shadowdiffusion.training.layouts import LayoutName, triplets
from shadowdiffusion.training.sampler import SamplerOptions

STEPS = (1, 2, 3, 5, 8, 15, 25)
STARTS = (None, 600, 400, 200)
RHOS = (0.02, 0.2)
SIZES = (256, 320, 384, 448, 512, 640)


@dataclass(frozen=True)
class Way:
    """One way to sample. working_size: pixels."""

    options: SamplerOptions
    working_size: int


@dataclass(frozen=True)
class Row:
    """One way on all pairs: mean PSNR in dB at native size, with the mask and blind; seconds per photo, median.

    seconds: prior and diffusion with the mask given. prior: PSNR of the prior alone, likewise.
    """

    way: Way
    given: float
    blind: float
    prior_given: float
    prior_blind: float
    seconds: float

    def record(self) -> dict[str, Any]:
        """Flat JSON record."""
        figures = {key: round(value, 4) for key, value in asdict(self).items() if key != "way"}
        return {"working_size": self.way.working_size, **asdict(self.way.options), **figures}


def ways(default: Way, starts: Sequence[int | None]) -> list[Way]:
    """The default first, then what is tried around it: steps and starts in full, everything else by itself."""
    options = default.options
    tried = [
        Way(replace(options, steps=steps, start=start, rho=rho), default.working_size)
        for rho in RHOS
        for start in starts
        for steps in STEPS
        if start is None or steps <= min(8, start)
    ]
    tried += [Way(replace(options, clamp=not options.clamp), default.working_size)]
    tried += [Way(replace(options, mask_policy=policy), default.working_size) for policy in ("predicted", "late")]
    tried += [Way(replace(options, mask_policy="closed-form"), default.working_size)]
    tried += [Way(replace(options, rho_schedule="geometric", rho_gamma=1.5), default.working_size)]
    tried += [Way(options, size) for size in SIZES]
    return list(dict.fromkeys([default, *tried]))


def measure(
    checkpoints: list[Path],
    data: Path,
    layout: LayoutName,
    options: SamplerOptions,
    working_size: int,
    starts: Sequence[int | None] = STARTS,
) -> Iterator[Row]:
    """Every way on every pair, networks exported once, their denoiser taking the timestep itself, on the CPU.

    options: the default way. starts: timesteps to start from the prior at, None for noise.
    Raises TrainingError, ExportError and RestoreError for checkpoints, data or settings that do not fit.
    """
    pairs = [(read_photo(f.degraded), read_photo(f.clean), _mask(f.mask)) for f in triplets(data, "test", layout)]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        plain = BundleOptions(options, "sampling", working_size=working_size, passes={TIME_TABLE.name: False})
        model = load_checkpoints(checkpoints)
        build_bundle(model, target, plain)
        restorer = load(target, "onnxruntime", "cpu")
        for way in ways(Way(options, working_size), starts):
            sampling = sampling_section(way.options, model.diffusion)
            manifest = msgspec.structs.replace(restorer.bundle.manifest, sampling=sampling)
            bundle = Bundle(restorer.bundle.path, manifest)
            yield _row(way, Restorer(bundle, HostLoop(bundle, restorer.loop.networks)), pairs)


def _mask(path: Path | None) -> Any:
    return None if path is None else read_photo(path)[..., 0]


def _row(way: Way, restorer: Restorer, pairs: list[Any]) -> Row:
    found: dict[str, list[float]] = {"given": [], "blind": [], "prior_given": [], "prior_blind": []}
    seconds = []
    for image, truth, mask in pairs:
        for kind, given in (("given", mask), ("blind", None)):
            result = restorer(image, given, working_size=way.working_size, with_prior=True, with_mask=False)
            assert result.prior is not None
            found[kind].append(psnr(result.image / 255, truth / 255))
            found[f"prior_{kind}"].append(psnr(result.prior / 255, truth / 255))
            if kind == "given":
                seconds.append(result.timings["prior"] + result.timings["diffusion"])
    return Row(way, **{key: float(np.mean(v)) for key, v in found.items()}, seconds=float(np.median(seconds)))


def table(rows: list[Row]) -> str:
    """Markdown, in the order of measuring; the gain over the prior alone in brackets."""
    lines = [
        "| steps | from | rho | working size | otherwise | with mask (dB) | blind (dB) | s per photo |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        options = row.way.options
        start = "noise" if options.start is None else f"prior at t = {options.start}"
        other = [options.mask_policy] * (options.mask_policy != "input") + ["clamped"] * options.clamp
        other += [f"rho × {options.rho_gamma:g} per step"] * (options.rho_schedule == "geometric")
        lines.append(
            f"| {options.steps} | {start} | {options.rho:g} | {row.way.working_size} | {', '.join(other)} "
            f"| {row.given:.2f} ({row.given - row.prior_given:+.2f}) "
            f"| {row.blind:.2f} ({row.blind - row.prior_blind:+.2f}) | {row.seconds:.2f} |"
        )
    return "\n".join(lines)
