"""Smaller and larger: photos reduced without aliasing; small fields enlarged bilinearly, whole or a strip at a time."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.photo import WHOLE, unit_floats

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]


def reduced(pixels: Pixels, long_side: int) -> Array:
    """A photo [H, W] or [H, W, C] (uint8, uint16, or float in [0, 1]) as float32 [h, w, C] in [0, 1], its long side at
    most `long_side`; never enlarged.
    """
    height, width = pixels.shape[:2]
    factor = long_side / max(height, width)
    if factor >= 1:
        return np.atleast_3d(unit_floats(pixels))
    values = reduced_to(pixels, max(1, round(height * factor)), max(1, round(width * factor)))
    values /= WHOLE.get(pixels.dtype.name, 1)
    return values.clip(0, 1)


def reduced_to(array: Pixels, height: int, width: int) -> Array:
    """[H, W] or [H, W, C] of a photo's type to float32 [height, width, C], no larger, with a triangle filter."""
    import pyvips

    if array.dtype.kind != "u":
        array = array.astype(np.float32, copy=False)
    kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[array.dtype.name]
    bands = 1 if array.ndim == 2 else array.shape[2]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(array), array.shape[1], array.shape[0], bands, kind)
    small = image.cast("float").resize(width / image.width, vscale=height / image.height, kernel="linear")
    values: Array = small.numpy().reshape(height, width, bands)
    return values


def fitted(plane: Array, height: int, width: int) -> Array:
    """Float32 [h, w] in [0, 1] at another size, larger or smaller."""
    if plane.shape == (height, width):
        return plane
    if height <= plane.shape[0] and width <= plane.shape[1]:
        return reduced_to(plane, height, width)[..., 0].clip(0, 1)
    return enlarged(plane, height, width)


def enlarged(field: Array, height: int, width: int) -> Array:
    """Bilinear resize of float32 [h, w] or [h, w, C] to [height, width]: pixel centres aligned, edges held."""
    return Enlarged(field, height, width)[0:height]


class Enlarged:
    """A small field that reads as its bilinear enlargement, by slices of rows, without ever being that large."""

    def __init__(self, field: Array, height: int, width: int) -> None:
        self._field = field
        self._rows = _neighbours(height, field.shape[0])
        self._columns = _neighbours(width, field.shape[1])

    def __getitem__(self, rows: slice) -> Array:
        above, below, weight = self._rows
        strip = _between(self._field, above[rows], below[rows], weight[rows], axis=0)
        return _between(strip, *self._columns, axis=1)


def _neighbours(length: int, source: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]:
    """For each of `length` positions: the two source positions around it and the weight of the second."""
    position = np.clip((np.arange(length) + 0.5) * (source / length) - 0.5, 0, source - 1)
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, source - 1), (position - first).astype(np.float32)


def _between(
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
