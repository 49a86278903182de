"""Arrays that users hand over: which are accepted as photo or mask, and what their numbers stand for."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError

Pixels = npt.NDArray[Any]

WHOLE = {"uint8": 255, "uint16": 65535}
"""The integer that stands for 1.0, by pixel type."""
ROUNDING = 1e-3
"""By how much a float may miss [0, 1]: the rounding of resizing, of colour conversion, or of float16."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


def usable_pixels(array: Pixels, name: str) -> Pixels:
    """The array itself if it is bool, uint8, uint16 or float in [0, 1], shaped [H, W] or [H, W, 1 or 3].

    Floats that exceed [0, 1] by no more than ROUNDING are clipped, in a copy. Raises PhotoError for anything else.
    """
    shape, kind = array.shape, array.dtype.name
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise PhotoError(f"{name} has shape {shape}, expected [height, width] or [height, width, 3]")
    if kind not in ("bool", "uint8", "uint16", "float16", "float32", "float64"):
        raise PhotoError(f"{name} has type {kind}, expected uint8, uint16 or float in [0, 1]")
    if array.dtype.kind != "f":
        return array
    low, high = array.min(), array.max()
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also catches NaN
        raise PhotoError(f"{name} has values from {low:g} to {high:g}, expected 0 to 1")
    return array if low >= 0 and high <= 1 else array.clip(0, 1)


def unit_floats(array: Pixels) -> npt.NDArray[np.float32]:
    """Checked pixels of any accepted type -> float32 in [0, 1]."""
    return np.divide(array, WHOLE.get(array.dtype.name, 1), dtype=np.float32)
