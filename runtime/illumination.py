"""From the working size back to the photo's own: only the change of light is enlarged, never the picture.

The gain between the restored and the degraded working image is measured in linear light, where a shadow
is a plain factor, enlarged bilinearly and applied to the full photo in strips of rows. Texture finer than
the working size is therefore the photo's own.
"""

from math import log
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.photo import WHOLE

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]

FLOOR = np.float32(1e-4)
"""Added to both images before dividing, linear light: a third of the first 8-bit step, so black has a
finite gain.
"""
LOWEST, HIGHEST = log(1 / 16), log(128)
"""Limits of the log gain. The deepest shadows need about 15, low-light photographs up to about 100."""
STRIP = 1 << 18
"""Pixels per strip: large enough for NumPy, small enough for a few strips' temporaries to stay in the
cache.
"""


def to_linear(encoded: Array) -> Array:
    """sRGB-encoded float32 in [0, 1] -> linear light in [0, 1] (IEC 61966-2-1)."""
    curve = np.power((encoded + np.float32(0.055)) / np.float32(1.055), np.float32(2.4))
    return np.where(encoded <= np.float32(0.04045), encoded / np.float32(12.92), curve)


def to_encoded(linear: Array) -> Array:
    """Linear light float32 in [0, 1] -> sRGB-encoded in [0, 1]; the inverse of `to_linear`."""
    curve = np.power(linear, np.float32(1 / 2.4))
    curve *= np.float32(1.055)
    curve -= np.float32(0.055)
    return np.where(linear <= np.float32(0.0031308), linear * np.float32(12.92), curve)


def log_gain(degraded: Array, restored: Array) -> Array:
    """log((restored + FLOOR) / (degraded + FLOOR)) in linear light, limited; all float32 of one shape.

    Both images are sRGB-encoded in [0, 1].
    """
    gain = np.log((to_linear(restored) + FLOOR) / (to_linear(degraded) + FLOOR))
    return np.clip(gain, np.float32(LOWEST), np.float32(HIGHEST), out=gain)


def apply_gain(pixels: Pixels, gain: Array) -> Pixels:
    """Brighten a photo [H, W, C] (uint8, uint16, or float32 in [0, 1]) by a log gain float32 [h, w, C] of
    any size.

    Inverts `log_gain` exactly where sizes agree: (linear + FLOOR) * exp(gain) - FLOOR. Same dtype and
    shape.
    """
    height, width = pixels.shape[:2]
    whole = WHOLE.get(pixels.dtype.name)
    table = None if whole is None else to_linear(np.arange(whole + 1, dtype=np.float32) / np.float32(whole))
    wide = _interpolate(gain, *_neighbours(width, gain.shape[1]), axis=1)
    above, below, weight = _neighbours(height, gain.shape[0])
    result = np.empty_like(pixels)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = slice(top, min(top + rows, height))
        factor = np.exp(_interpolate(wide, above[strip], below[strip], weight[strip], axis=0))
        light = to_linear(pixels[strip]) if table is None else table[pixels[strip]]
        light += FLOOR
        light *= factor
        light -= FLOOR
        encoded = to_encoded(np.clip(light, np.float32(0), np.float32(1), out=light))
        if whole is not None:
            encoded *= np.float32(whole)
            np.rint(encoded, out=encoded)
        result[strip] = encoded
    return result


def enlarge(plane: Array, height: int, width: int) -> Array:
    """Bilinear resize of float32 [h, w] to [height, width], pixel centres aligned, edges held."""
    wide = _interpolate(plane, *_neighbours(width, plane.shape[1]), axis=1)
    return _interpolate(wide, *_neighbours(height, plane.shape[0]), axis=0)


def _neighbours(length: int, source: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]:
    """For each of `length` positions: the two source positions around it and the weight of the second."""
    position = np.clip((np.arange(length) + 0.5) * (source / length) - 0.5, 0, source - 1)
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, source - 1), (position - first).astype(np.float32)


def _interpolate(
    array: Array, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp], weight: Array, axis: int
) -> Array:
    shape = [1] * array.ndim
    shape[axis] = -1
    low = array.take(first, axis)
    step = array.take(second, axis)
    step -= low
    step *= weight.reshape(shape)
    step += low
    return step
