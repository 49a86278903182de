"""Do two implementations of a bundle compute the same function? Measured on photos, output by output and step by step.

An `Implementation` is PyTorch with the reference sampler, or the runtime's sampler on some backend. Both get the same
inputs and the same Philox noise; the differences are the worst over all photos.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.commands.console import Progress
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.photos import Sample
from shadowdiffusion.runtime.bundle.engines import Precision
from shadowdiffusion.runtime.bundle.folder import Bundle, Difference, Sampling, Step, Verification
from shadowdiffusion.runtime.bundle.golden_example import GOLDEN_TOLERANCE, read_golden
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.networks import Networks
from shadowdiffusion.runtime.loop.noise import gaussian
from shadowdiffusion.runtime.loop.prior_update import confident_mask, illumination
from shadowdiffusion.runtime.loop.sampler import sample as runtime_sample
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES, Decibels, kind_of, network_outputs

if TYPE_CHECKING:
    from torch import Tensor

    from shadowdiffusion.training.checkpoint import Model
    from shadowdiffusion.training.sampler import SamplerOptions

Array = npt.NDArray[np.float32]

LOOP_DB = TOLERANCES["fp32"].image
"""PSNR that the state after every step and the restored image must reach in float32."""
HALF_WEIGHTS_DB = 40.0
"""PSNR between the results with rounded and with original weights below which rounding is refused."""
MOST_DB = 200.0  # stands for "identical": JSON has no infinity
LOOPS = ("loop", "blind loop")
ONNX = "onnx"
"""Key of the portable networks in `Manifest.verification`."""


def psnr(result: Array, reference: Array) -> float:
    """Peak signal-to-noise ratio in dB of images about [0, 1], not clipped, at most MOST_DB.

    The peak is 1, or the root mean square of the reference if an untrained network makes it larger: clipping
    would hide every error beyond white and black.
    """
    return difference(result, reference).psnr


def snr(result: Array, reference: Array) -> float:
    """Signal-to-noise ratio in dB, at most MOST_DB: for values without a natural peak."""
    return _snr(difference(result, reference))


def _snr(found: Difference) -> float:
    return min(MOST_DB, -20 * math.log10(found.relative_l2 or 1e-10))


def difference(result: Array, reference: Array) -> Difference:
    """How far `result` is from `reference`; peak as for `psnr`. Raises ExportError for another shape or NaN."""
    if result.shape != reference.shape:
        raise ExportError(f"a network returns shape {result.shape}, its reference {reference.shape}")
    error = result.astype(np.float64) - reference
    noise, power = float(np.mean(np.square(error))), float(np.mean(np.square(reference, dtype=np.float64)))
    if not math.isfinite(noise):
        raise ExportError("a network returns values that are not finite: its weights are damaged or overflow")
    decibel = MOST_DB if noise == 0 else min(MOST_DB, 10 * math.log10(max(1.0, power) / noise))
    relative = 0.0 if noise == 0 else math.sqrt(noise / max(power, 1e-20))
    return Difference(float(f"{np.abs(error).max():.3g}"), float(f"{relative:.3g}"), round(decibel, 2))


class Violation(NamedTuple):
    """missing: dB to the tolerance, infinite for what does not run at all. text: what was found and what is needed."""

    missing: float
    text: str


class Implementation(Protocol):
    """Prior, denoiser and whole loop; arrays as in `backends.networks.Networks`, images of the loop in [0, 1]."""

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """Clean image and matte."""
        ...

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """Noise and, `with_mask`, the shadow mask."""
        ...

    def states(self, image: Array, mask: Array, seed: int) -> list[Array]:
        """x float32 [N, 3, H, W], about [-1, 1] and noise, after every step of the default table."""
        ...


class OnBackend:
    """What the runtime does with a bundle, on the networks of one backend."""

    def __init__(self, bundle: Bundle, networks: Networks) -> None:
        self.bundle, self.networks = bundle, networks
        self.prior, self.denoise = networks.prior, networks.denoise

    def states(self, image: Array, mask: Array, seed: int) -> list[Array]:
        """As `Implementation.states`."""
        model, sampling = self.bundle.manifest.model, self.bundle.manifest.sampling
        clean = self.networks.prior(image, mask)[0] if self.bundle.has_prior else image
        h = illumination(image, clean, model.illumination)
        seen: list[Array] = []

        def denoise(y: Array, m: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
            seen.append(x_t.copy())  # the sampler works in this memory
            return self.networks.denoise(y, m, x_t, step, with_mask)

        x = runtime_sample(denoise, image, mask, h, clean, _noise(image, seed), sampling, default_table(sampling)).x
        return [*seen[1:], x]


class InPyTorch:
    """The truth: PyTorch networks in the reference sampler."""

    def __init__(self, model: Model, options: SamplerOptions) -> None:
        self.model, self.options = model, options

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """Clean image and matte."""
        import torch

        assert self.model.prior is not None
        with torch.no_grad():
            clean, matte = self.model.prior(torch.from_numpy(image), torch.from_numpy(mask))
        return clean.numpy(), matte.numpy()

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """Noise and, `with_mask`, the shadow mask."""
        import torch

        assert self.model.denoiser is not None
        t = torch.full((len(y),), float(step.t))
        with torch.no_grad():
            noise, shadow = self.model.denoiser(*map(torch.from_numpy, (y, mask, x_t)), t)
        return noise.numpy(), shadow.numpy() if with_mask else None

    def states(self, image: Array, mask: Array, seed: int) -> list[Array]:
        """As `Implementation.states`."""
        import torch

        from shadowdiffusion.training import degradation
        from shadowdiffusion.training.sampler import sample

        y, shadow, noise = torch.from_numpy(image), torch.from_numpy(mask), _noise(image, seed)
        denoiser, seen = self.model.denoiser, list[Array]()
        assert denoiser is not None

        def denoise(y: Tensor, m: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(x_t.numpy())
            found: tuple[Tensor, Tensor] = denoiser(y, m, x_t, t)
            return found

        with torch.no_grad():
            clean = y if self.model.prior is None else self.model.prior(y, shadow)[0]
            h = degradation.illumination(y, clean, self.model.illumination)
            drawn: Callable[[int], Tensor] = lambda step: torch.from_numpy(noise(step))  # noqa: E731
            x = sample(denoise, y, shadow, h, clean, drawn, self.options, self.model.diffusion).x
        return [*seen[1:], x.numpy()]


def compare(
    candidate: Implementation,
    reference: Implementation,
    bundle: Bundle,
    samples: Sequence[Sample],
    pair: bool = True,
    progress: Progress = lambda fraction, phase: None,
) -> dict[str, Difference]:
    """Worst difference by output of `network_outputs`, "step 1" to "step S", "loop" and "blind loop".

    Every sample runs alone, and with `pair` the first one also twice in one batch. The denoiser is asked at every
    step of the default table for the first sample, at the first step for the others. Without a prior there is no
    blind loop. In the blind one, both start from the mask that the candidate finds: a threshold of the prior's matte,
    where rounding may flip a pixel.
    """
    table, worst = default_table(bundle.manifest.sampling), dict[str, Difference]()

    def note(keys: Sequence[str], results: Sequence[Array], references: Sequence[Array]) -> None:
        for key, result, expected in zip(keys, results, references, strict=True):
            worst[key] = worse(worst.get(key), difference(result, expected))

    first, kinds = samples[0], LOOPS if bundle.has_prior else LOOPS[:1]
    twice = Sample(first.name, np.repeat(first.image, 2, 0), np.concatenate([first.mask, 1 - first.mask]))
    inputs = [*samples, twice] if pair else list(samples)
    parts = len(inputs) + len(kinds) * len(samples)
    for index, item in enumerate(inputs):
        progress(index / parts, f"networks on {item.name}")
        clean = reference.prior(item.image, item.mask)[0] if bundle.has_prior else None
        asked = (item.image, item.mask, clean, table if index == 0 else table[:1], index)
        found, expected = (network_outputs(each, *asked) for each in (candidate, reference))
        note([name for name, _ in found], *([array for _, array in outputs] for outputs in (found, expected)))
    for index, item in enumerate(samples):
        for turn, kind in enumerate(kinds):
            progress((len(inputs) + index * len(kinds) + turn) / parts, f"{kind} on {item.name}")
            mask = item.mask if kind == "loop" else find_mask(candidate, bundle, item.image)
            results, references = (each.states(item.image, mask, index) for each in (candidate, reference))
            if kind == "loop":
                note([f"step {number}" for number in range(1, len(table) + 1)], results, references)
            note([kind], [unit(results[-1])], [unit(references[-1])])
    return worst


def golden_difference(bundle: Bundle, networks: Networks) -> Difference:
    """The bundle's golden example, run by the runtime, against its recorded result. Raises BundleError."""
    golden = read_golden(bundle)
    loop = HostLoop(bundle, networks)
    result = loop.restore(golden.image, golden.mask, bundle.table(golden.steps), [golden.seed]).image
    return difference(result, golden.x)


def worse(one: Difference | None, other: Difference) -> Difference:
    """The larger error of the two, figure by figure."""
    if one is None:
        return other
    return Difference(
        max(one.max_abs, other.max_abs), max(one.relative_l2, other.relative_l2), min(one.psnr, other.psnr)
    )


def verification(
    against: Literal["PyTorch", "golden", "portable ONNX"],
    photos: Sequence[str],
    differences: dict[str, Difference],
    precision: Precision = "fp32",
    gate: float | None = None,
) -> tuple[Verification, Violation | None]:
    """The report for the manifest, and the worst violation of the tolerances, None if there is none.

    Tolerances: TOLERANCES of the precision, for the loops the `gate` in dB instead, if one is given. The states after
    the steps are held to that of the image in float32 only: in lower precision the noise is.
    """
    least = TOLERANCES[precision]
    least = least if gate is None else least._replace(image=gate)
    exact = precision == "fp32"
    missed = {key: miss for key, value in differences.items() if (miss := _missing(key, value, least, exact))}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    report = Verification(against, created, list(photos), differences, passed=not missed)
    if not missed:
        return report, None
    key = max(missed, key=lambda name: missed[name].missing)
    what = "its recorded result" if key == "golden" else against
    return report, Violation(missed[key].missing, f"{key} agrees with {what} to {missed[key].text}")


def _missing(key: str, found: Difference, needed: Decibels, exact: bool) -> Violation | None:
    if key.startswith("step ") and not exact:
        return None
    kind = kind_of(key)
    value = _snr(found) if kind == "noise" else found.psnr
    least = GOLDEN_TOLERANCE if key == "golden" else needed._asdict().get(kind, needed.image)
    return None if value >= least else Violation(least - value, f"{value:.1f} dB only, {least:g} dB are needed")


def rounding_cost(rounded: Model, original: Model, options: SamplerOptions, samples: Sequence[Sample]) -> float:
    """Worst PSNR in dB between results with rounded and original weights. Raises ExportError below the
    limit."""
    worst = min(
        psnr(*(reference_loop(model, options, s.image, s.mask, i) for model in (rounded, original)))
        for i, s in enumerate(samples)
    )
    if worst < HALF_WEIGHTS_DB:
        found = f"changes results to {worst:.1f} dB, {HALF_WEIGHTS_DB:g} dB are needed"
        raise ExportError(f"storing weights in half precision {found}: export with --fp32-weights")
    return worst


def reference_loop(model: Model, options: SamplerOptions, image: Array, mask: Array, seed: int) -> Array:
    """The reference sampler's result, float32 [N, 3, H, W], about [0, 1].

    mask: what the prior sees and the diffusion starts with.
    """
    return unit(InPyTorch(model, options).states(image, mask, seed)[-1])


def find_mask(candidate: Implementation, bundle: Bundle, image: Array) -> Array:
    """Where the prior, asked without a mask, is sure of a shadow: float32 [N, 1, H, W] of 0 and 1."""
    model = bundle.manifest.model
    unknown = np.full((len(image), 1, *image.shape[2:]), model.blind_mask, np.float32)
    return confident_mask(candidate.prior(image, unknown)[1], model.matte_threshold)


def default_table(sampling: Sampling) -> list[Step]:
    """The steps that a photo gets when its user does not say."""
    return sampling.tables[str(sampling.default_steps)]


def unit(x: Array) -> Array:
    """[-1, 1] -> [0, 1]."""
    image: Array = (x + np.float32(1)) / np.float32(2)
    return image


def _noise(image: Array, seed: int) -> Callable[[int], Array]:
    """step -> float32 [N, 3, H, W], every image of the batch with its own stream."""
    size = image.shape[2:]
    return lambda step: np.stack([gaussian(*size, seed=seed, step=step, image=i) for i in range(len(image))])
