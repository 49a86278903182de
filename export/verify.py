"""Is the exported bundle the same function as the PyTorch model? Measured on photo crops, in dB.

Two comparisons: each ONNX graph with its module, and the whole sampling loop of the runtime with the
reference sampler, both fed the same Philox noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export.errors import ExportError
from export.photos import Sample
from runtime.bundle import Bundle
from runtime.networks import Networks
from runtime.noise import gaussian
from runtime.onnxruntime_networks import OnnxRuntimeNetworks
from runtime.prior_update import confident_mask, illumination
from runtime.sampler import sample as runtime_sample

if TYPE_CHECKING:
    from training.checkpoint import Model
    from training.sampler import SamplerOptions

Array = npt.NDArray[np.float32]

GRAPH_DB = 80.0
"""Signal-to-noise ratio that a graph must reach against its PyTorch module; float32 rounding is near 110
dB."""
LOOP_DB = 60.0
"""PSNR that the runtime must reach against the reference sampler: 1/1000 of full scale, a quarter of an
8-bit step."""
HALF_WEIGHTS_DB = 40.0
"""PSNR between the results with rounded and with original weights below which rounding is refused."""
MOST_DB = 200.0  # stands for "identical": JSON has no infinity


def psnr(result: Array, reference: Array) -> float:
    """Peak signal-to-noise ratio in dB of images about [0, 1], not clipped, at most MOST_DB.

    The peak is 1, or the root mean square of the reference if an untrained network makes it larger: clipping
    would hide every error beyond white and black.
    """
    return _decibel(max(1.0, float(np.mean(np.square(reference, dtype=np.float64)))), result, reference)


def snr(result: Array, reference: Array) -> float:
    """Signal-to-noise ratio in dB, at most MOST_DB: for values without a natural peak."""
    return _decibel(float(np.mean(np.square(reference, dtype=np.float64))), result, reference)


def _decibel(power: float, result: Array, reference: Array) -> float:
    if result.shape != reference.shape:
        raise ExportError(f"exported network returns shape {result.shape}, PyTorch {reference.shape}")
    error = float(np.mean(np.square(result.astype(np.float64) - reference)))
    if not math.isfinite(error):
        raise ExportError("the network returns values that are not finite: its weights are damaged or overflow")
    if error == 0 or power == 0:
        return MOST_DB if error == 0 else 0.0
    return min(MOST_DB, 10 * math.log10(power / error))


def require(what: str, value: float, least: float) -> float:
    """`value` rounded to 0.01 dB; raises ExportError if it is below `least`."""
    if value < least:
        raise ExportError(f"{what} agrees with PyTorch to {value:.1f} dB only, {least:g} dB are needed: refused")
    return round(value, 2)


def compare_graphs(model: Model, bundle: Bundle, samples: Sequence[Sample]) -> dict[str, float]:
    """Worst SNR in dB of every output over all samples and over the timesteps of the default table.

    Every sample runs alone, and the first also twice in one batch. Raises ExportError below GRAPH_DB.
    """
    import torch

    networks, worst = OnnxRuntimeNetworks(bundle, "cpu", torch.get_num_threads()), dict[str, float]()

    def note(key: str, value: float) -> None:
        worst[key] = min(value, worst.get(key, MOST_DB))

    steps = bundle.manifest.sampling.tables[str(bundle.manifest.sampling.default_steps)]
    first = samples[0]
    pair = Sample(first.name, np.repeat(first.image, 2, 0), np.concatenate([first.mask, 1 - first.mask]))
    for index, item in enumerate((*samples, pair)):
        image, mask = torch.from_numpy(item.image), torch.from_numpy(item.mask)
        with torch.no_grad():
            if model.prior is not None:
                for key, output, reference in zip(
                    ("prior_clean", "prior_matte"),
                    networks.prior(item.image, item.mask),
                    model.prior(image, mask),
                    strict=True,
                ):
                    note(key, snr(output, reference.numpy()))
            assert model.denoiser is not None
            for step in steps if index == 0 else steps[:1]:
                noisy = _noise(item.image, seed=index)(step.t)
                t = torch.full((len(image),), float(step.t))
                reference = model.denoiser(2 * image - 1, mask, torch.from_numpy(noisy), t)
                result = networks.denoise(2 * item.image - 1, item.mask, noisy, step, with_mask=True)
                note("denoiser_noise", snr(result[0], reference[0].numpy()))
                assert result[1] is not None
                note("denoiser_mask", snr(result[1], reference[1].numpy()))
    return {f"{key}_snr": require(f"exported {key}", value, GRAPH_DB) for key, value in worst.items()}


def compare_loops(model: Model, bundle: Bundle, options: SamplerOptions, samples: Sequence[Sample]) -> dict[str, float]:
    """Worst PSNR in dB of the restored image, with the sample's mask and, given a prior, without one (blind).

    Raises ExportError below LOOP_DB.
    """
    import torch

    networks, masked, blind = OnnxRuntimeNetworks(bundle, "cpu", torch.get_num_threads()), MOST_DB, MOST_DB
    for index, item in enumerate(samples):
        result, mask = runtime_loop(networks, bundle, item.image, item.mask, index)
        masked = min(masked, psnr(result, reference_loop(model, options, item.image, mask, index)))
        if model.prior is not None:
            result, mask = runtime_loop(networks, bundle, item.image, None, index)
            # the found mask is a threshold of the prior's matte, where rounding may flip a pixel: share it
            blind = min(blind, psnr(result, reference_loop(model, options, item.image, mask, index)))
    found = {"loop_psnr": require("the sampling loop", masked, LOOP_DB)}
    if model.prior is not None:
        found["blind_loop_psnr"] = require("the sampling loop without a mask", blind, LOOP_DB)
    return found


def rounding_cost(rounded: Model, original: Model, options: SamplerOptions, samples: Sequence[Sample]) -> float:
    """Worst PSNR in dB between results with rounded and original weights. Raises ExportError below the
    limit."""
    worst = min(
        psnr(*(reference_loop(model, options, s.image, s.mask, i) for model in (rounded, original)))
        for i, s in enumerate(samples)
    )
    if worst < HALF_WEIGHTS_DB:
        found = f"changes results to {worst:.1f} dB, {HALF_WEIGHTS_DB:g} dB are needed"
        raise ExportError(f"storing weights in half precision {found}: export without --with half-weights")
    return round(worst, 2)


def reference_loop(model: Model, options: SamplerOptions, image: Array, mask: Array, seed: int) -> Array:
    """The truth: PyTorch networks in the reference sampler. Returns float32 [N, 3, H, W], about [0, 1].

    mask: what the prior sees and the diffusion starts with.
    """
    import torch

    from training import degradation
    from training.sampler import sample

    y, shadow = torch.from_numpy(image), torch.from_numpy(mask)
    noise = _noise(image, seed)
    assert model.denoiser is not None
    with torch.no_grad():
        clean = y if model.prior is None else model.prior(y, shadow)[0]
        h = degradation.illumination(y, clean)
        drawn: Callable[[int], torch.Tensor] = lambda step: torch.from_numpy(noise(step))  # noqa: E731
        x = sample(model.denoiser, y, shadow, h, clean, drawn, options, model.diffusion).x
    restored: Array = ((x + 1) / 2).numpy()
    return restored


def runtime_loop(
    networks: Networks, bundle: Bundle, image: Array, mask: Array | None, seed: int
) -> tuple[Array, Array]:
    """What the runtime does with a working image: (restored float32 [N, 3, H, W] about [0, 1], mask it began
    with)."""
    info, sampling = bundle.manifest.model, bundle.manifest.sampling
    if mask is None:
        unknown = np.full((len(image), 1, *image.shape[2:]), info.blind_mask, np.float32)
        mask = confident_mask(networks.prior(image, unknown)[1], info.matte_threshold)
    clean = networks.prior(image, mask)[0] if bundle.has_prior else image
    h = illumination(image, clean, info.illumination)
    table = sampling.tables[str(sampling.default_steps)]
    x = runtime_sample(networks.denoise, image, mask, h, clean, _noise(image, seed), sampling, table).x
    restored: Array = (x + np.float32(1)) / np.float32(2)
    return restored, mask


def _noise(image: Array, seed: int) -> Callable[[int], Array]:
    """step -> float32 [N, 3, H, W], every image of the batch with its own stream."""
    size = image.shape[2:]
    return lambda step: np.stack([gaussian(*size, seed=seed, step=step, image=i) for i in range(len(image))])
