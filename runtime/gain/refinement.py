"""The gain of light at a finer grid than the networks saw it on: shadow borders as sharp as the photo says.

Back-projection (Irani & Peleg, "Improving Resolution by Image Registration", 1991): the photo, brightened by the fine
gain and reduced to the working size, must have changed there by the gain that is known; what is missing is added,
again and again. A gain between the least and the most of its neighbourhood keeps borders free of overshoot.

docs/full-size.md has what this brings on photographed pairs, and which guided filters were tried and brought less.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.gain.illumination import FLOOR, to_linear
from shadowdiffusion.runtime.gain.resizing import enlarged, reduced, reduced_to

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]

WORTHWHILE = 2.0
"""Below this reduction, the gain has nearly the photo's own resolution."""
FINEST = 4.0
"""The fine grid is at most so many times the working size: finer ones made no difference, but cost time and memory."""
ROUNDS, STEP = 4, np.float32(1.8)
"""More rounds, or steps of 1 instead of 1.8, bring 0.1 dB more and less."""


def refined(pixels: Pixels, gain: Array) -> Array:
    """The log gain float32 [h, w, C] of a photo [H, W] or [H, W, C], on a finer grid where the photo has one.

    C is that of the photo, h and w its size after `runtime.gain.resizing.reduced`.
    """
    height, width = gain.shape[:2]
    factor = max(pixels.shape[:2]) / max(height, width)
    if factor < WORTHWHILE:
        return gain
    photo = reduced(pixels, round(max(height, width) * min(factor, FINEST)))
    size = photo.shape[:2]
    # the networks saw the photo reduced in its own encoding: a square root is near it, and quick
    root = np.sqrt(to_linear(photo) + FLOOR)
    before = _log_light(root, height, width)
    least, most = (enlarged(_neighbourhood(gain, of), *size) for of in (np.minimum, np.maximum))
    fine = enlarged(gain, *size)
    for _ in range(ROUNDS):
        reached = _log_light(root * np.exp(fine / 2), height, width) - before
        fine += STEP * enlarged(gain - reached, *size)
        np.clip(fine, least, most, out=fine)
    return fine


def _log_light(root: Array, height: int, width: int) -> Array:
    return 2 * np.log(reduced_to(root, height, width))


def _neighbourhood(field: Array, of: Callable[[Array, Array], Array]) -> Array:
    """The minimum or maximum over 3x3 positions of [h, w, C]."""
    padded = np.pad(field, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = of(of(padded[:-2], padded[1:-1]), padded[2:])
    return of(of(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
