"""The example that travels with a bundle: an input, and what the reference sampler made of it at export."""

from dataclasses import dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import GOLDEN_EXPECTED, GOLDEN_INPUT, Bundle
from shadowdiffusion.runtime.errors import BundleError

Array = npt.NDArray[np.float32]

GOLDEN_TOLERANCE = 50.0
"""PSNR in dB that a healthy installation reaches against the bundle's golden output."""


@dataclass(frozen=True)
class Golden:
    """A working image and mask, float32 [1, C, h, w] in [0, 1], and x, what the reference sampler made of them."""

    image: Array
    mask: Array
    x: Array
    seed: int
    steps: int


def read_golden(bundle: Bundle) -> Golden:
    """The example that came with the bundle. Raises BundleError when its files are absent or unreadable."""
    given = _arrays(bundle, GOLDEN_INPUT, "image", "mask", "seed", "steps")
    image, mask = given["image"].astype(np.float32), given["mask"].astype(np.float32)
    x = _arrays(bundle, GOLDEN_EXPECTED, "x")["x"].astype(np.float32)
    return Golden(image, mask, np.clip(x, 0, 1), int(given["seed"]), int(given["steps"]))


def psnr(result: Array, reference: Array) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; infinite where they are equal."""
    error = float(np.mean((result.astype(np.float64) - reference) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def _arrays(bundle: Bundle, name: str, *keys: str) -> dict[str, Any]:
    if name not in bundle.manifest.files:
        raise BundleError(f"bundle {bundle.path} has no {name} to check against")
    try:
        with np.load(bundle.path / name, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in keys}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise BundleError(f"{name} of bundle {bundle.path} is not readable: {error}") from error
