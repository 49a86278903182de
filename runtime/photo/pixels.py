"""Arrays that users hand over: which are accepted as photo or mask, and what their numbers stand for."""

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.errors import PhotoError

Pixels = npt.NDArray[Any]

WHOLE = {"uint8": 255, "uint16": 65535}
"""The integer that stands for 1.0, by pixel type."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


def as_mask(mask: Pixels, height: int, width: int, name: str = "mask") -> npt.NDArray[np.float32]:
    """A mask array as float32 [height, width] in [0, 1]; colour is turned into luminance.

    Takes bool, uint8, uint16, or float in [0, 1], shaped [H, W], [H, W, 1] or [H, W, 3]. Raises
    PhotoError for another size than the photo's or a mask without any shadow; `name` names it in the
    message.
    """
    check_pixels(mask, name)
    plane = unit_floats(mask)
    if plane.ndim == 3:
        plane = plane @ LUMINANCE if plane.shape[2] == 3 else plane[..., 0]
    if plane.shape != (height, width):
        actual = f"{plane.shape[1]}x{plane.shape[0]}"
        raise PhotoError(f"{name} is {actual} pixels, the photo {width}x{height}: they must be the same size")
    if not plane.any():
        raise PhotoError(f"{name} is all black: there is nothing to restore (white marks shadow)")
    return plane


def check_pixels(array: Pixels, name: str) -> None:
    """Raise PhotoError unless `array` is bool, uint8, uint16 or float in [0, 1], shaped [H, W] or [H, W,
    1 or 3].
    """
    shape, kind = array.shape, array.dtype.name
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise PhotoError(f"{name} has shape {shape}, expected [height, width] or [height, width, 3]")
    if kind not in ("bool", "uint8", "uint16", "float16", "float32", "float64"):
        raise PhotoError(f"{name} has type {kind}, expected uint8, uint16 or float in [0, 1]")
    if array.dtype.kind == "f" and not (array.min() >= 0 and array.max() <= 1):  # also catches NaN
        raise PhotoError(f"{name} has values from {array.min():g} to {array.max():g}, expected 0 to 1")


def unit_floats(array: Pixels) -> npt.NDArray[np.float32]:
    """Checked pixels of any accepted type -> float32 in [0, 1]."""
    return np.divide(array, WHOLE.get(array.dtype.name, 1), dtype=np.float32)
