"""How near the networks of an engine, and the whole loop on them, must come to float32, by precision."""

from collections.abc import Sequence
from math import inf, log10, sqrt
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.engines import Precision
from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.bundle.golden_example import psnr
from shadowdiffusion.runtime.loop.noise import gaussian

Array = npt.NDArray[np.float32]


class Outputs(Protocol):
    """Prior and denoiser, as `runtime.loop.networks.Networks`."""

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """Clean image and matte."""

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """Noise and, `with_mask`, the refined mask."""


class Decibels(NamedTuple):
    """Agreement with float32 in dB: signal-to-noise ratio of the predicted noise, PSNR (peak 1) of all else."""

    image: float
    """Of the restored image."""
    noise: float
    """Of the predicted noise, at every step."""
    mask: float
    """Of the refined mask, at every step."""
    clean: float
    """Of the prior's clean image."""
    matte: float
    """Of the prior's matte."""

    def shortfall(self, needed: "Decibels") -> float:
        """By how many dB the worst of the figures misses what is needed; at most 0 where all reach it."""
        return max(least - found for found, least in zip(self, needed, strict=True))

    def missed(self, needed: "Decibels") -> list[str]:
        """A phrase for every figure below what is needed: "noise 12.3 dB (20 needed)"."""
        figures = zip(self._fields, self, needed, strict=True)
        return [f"{name} {found:.1f} dB ({least:g} needed)" for name, found, least in figures if not found >= least]


TOLERANCES: dict[Precision, Decibels] = {
    "fp32": Decibels(image=60.0, noise=80.0, mask=80.0, clean=80.0, matte=55.0),
    "fp16": Decibels(image=50.0, noise=55.0, mask=45.0, clean=70.0, matte=45.0),
    "bf16": Decibels(image=40.0, noise=38.0, mask=28.0, clean=52.0, matte=40.0),
    "int8": Decibels(image=40.0, noise=22.0, mask=18.0, clean=70.0, matte=45.0),
    "fp8": Decibels(image=40.0, noise=17.0, mask=18.0, clean=70.0, matte=45.0),
}
"""The least that counts as agreement. In float32 only the order of summation differs: 1/1000 of full scale in the
image, a relative error of 1e-4 in the noise; the level at which the matte is cut is measured in the photo, which
magnifies rounding. The other figures lie some dB below the worst of the built-in bundles (docs/precision.md).
"""


def network_outputs(
    networks: Outputs, image: Array, mask: Array, clean: Array | None, table: Sequence[Step], seed: int
) -> list[tuple[str, Array]]:
    """Every output of every network, by name, for images [N, 3, H, W] and masks [N, 1, H, W] in [0, 1].

    clean: the clean images that the float32 networks find, which the denoiser sees with noise, as in the loop; None for
    a bundle without a prior. Names: "prior.clean", "prior.matte", and for step k of the table, from 1, "denoiser.noise
    k" twice (alone, and beside the mask) and "denoiser.mask k".
    """
    found = list[tuple[str, Array]]()
    if clean is not None:
        found += zip(("prior.clean", "prior.matte"), networks.prior(image, mask), strict=True)
    y, x = 2 * image - 1, 2 * (image if clean is None else clean) - 1
    noise = np.stack([gaussian(*image.shape[2:], seed=seed, step=0, image=i) for i in range(len(image))])
    for number, step in enumerate(table, 1):
        noisy = np.float32(sqrt(step.alpha_bar)) * x + np.float32(sqrt(1 - step.alpha_bar)) * noise
        alone = networks.denoise(y, mask, noisy, step, False)[0]
        beside, shadow = networks.denoise(y, mask, noisy, step, True)
        assert shadow is not None
        found += [(f"denoiser.noise {number}", alone), (f"denoiser.noise {number}", beside)]
        found.append((f"denoiser.mask {number}", shadow))
    return found


def kind_of(output: str) -> str:
    """The field of `Decibels` that an output of `network_outputs` counts for."""
    return output.partition(".")[2].partition(" ")[0]


def agreement(output: str, result: Array, reference: Array) -> float:
    """Agreement in dB of an output of `network_outputs` with its reference, as its field of `Decibels` has it."""
    if kind_of(output) != "noise":
        return psnr(result, reference)
    power, error = (float(np.mean(np.square(a, dtype=np.float64))) for a in (reference, result - reference))
    return inf if error == 0 else 10 * log10(max(power, 1e-20) / error)
