"""The change of light between two images, in linear light, where a shadow is a plain factor."""

from math import log

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

FLOOR = np.float32(1e-4)
"""Added to both images before dividing, linear light: a third of the first 8-bit step, so black has a
finite gain.
"""
LOWEST, HIGHEST = log(1 / 16), log(128)
"""Limits of the log gain. The deepest shadows need about 15, low-light photographs up to about 100."""


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
