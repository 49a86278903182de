"""The photo at its own size, brightened by what was found at the working size: its texture is never resampled.

Each pixel's light is multiplied by the gain, which is enlarged strip by strip, several strips at a time: beside the
photo and the result, little memory is needed. Where the photo is so dark that the gain would make its noise
visible, a pixel keeps its brightness, but its colour moves towards that of the working size, where the noise of many
pixels has been averaged.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.cores import usable_cores
from shadowdiffusion.runtime.gain.illumination import FLOOR, to_encoded, to_linear
from shadowdiffusion.runtime.gain.refinement import refined
from shadowdiffusion.runtime.gain.resizing import Enlarged
from shadowdiffusion.runtime.photo.pixels import LUMINANCE, WHOLE

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]

STRIP = 1 << 16
"""Pixels per strip: few enough for its temporaries to stay in a core's cache."""
NOISE_TO_COLOUR = np.float32(0.4)
"""Noise of the photo over the colour contrast of its texture, chosen on photographed pairs (docs/full-size.md)."""
TOE = np.float32(0.003)
"""Linear light below which the sRGB curve is nearly straight."""


def brighten(pixels: Pixels, small: Array, gain: Array, strength: float = 1.0) -> Pixels:
    """The photo [H, W] or [H, W, C] (uint8, uint16, or float in [0, 1]) brightened by a log gain; same shape and type.

    small, gain: the photo at the working size, encoded, in [0, 1], and the gain of its light there, both float32
    [h, w, C]. strength: the factor of the log gain, in [0, 1]; 0 gives a copy of the photo.
    """
    if strength == 0:
        return pixels.copy()
    height, width = pixels.shape[:2]
    photo = pixels.reshape(height, width, -1)
    whole = WHOLE.get(photo.dtype.name)
    table = None if whole is None else to_linear(np.arange(whole + 1, dtype=np.float32) / np.float32(whole))
    factor = np.float32(strength)
    gains = Enlarged(factor * refined(pixels, gain), height, width)
    colours = Enlarged((to_linear(small) + FLOOR) * np.exp(factor * gain), height, width)
    result = np.empty_like(photo)

    def fill(rows: slice) -> None:
        before = (to_linear(photo[rows]) if table is None else table[photo[rows]]) + FLOOR
        ratio = np.exp(gains[rows])
        light = before * ratio
        if light.shape[2] == 3 and ratio.max() > 1:
            _calm(light, before, colours[rows])
        light -= FLOOR
        encoded = to_encoded(light.clip(0, 1, out=light))
        if whole is not None:
            encoded *= np.float32(whole)
            np.rint(encoded, out=encoded)
        result[rows] = encoded

    step = max(1, STRIP // width)
    with ThreadPoolExecutor(usable_cores()) as threads:
        list(threads.map(fill, (slice(top, min(top + step, height)) for top in range(0, height, step))))
    return result.reshape(pixels.shape)


def _calm(light: Array, before: Array, colours: Array) -> None:
    """Move colours of `light` towards `colours` where noise has been amplified; all linear light + FLOOR, [r, W, 3].

    With a = how much steeper the encoded result is than the encoded photo, and n = NOISE_TO_COLOUR, noise has (a n)^2
    times the variance of texture: Wiener's weight of the reference follows. Noise as it was, a = 1, is left alone.
    """
    old, new = before @ LUMINANCE, light @ LUMINANCE
    # slopes of the sRGB curve, c (light + TOE)^(1 / 2.4 - 1)
    steeper = new / old * ((new + TOE) / (old + TOE)) ** np.float32(1 / 2.4 - 1)
    noise = np.square(NOISE_TO_COLOUR * np.maximum(steeper - 1, 0))
    weight = (noise / (1 + noise))[..., None]
    light += weight * (colours * (new / (colours @ LUMINANCE))[..., None] - light)
