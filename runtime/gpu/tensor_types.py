"""float32 arrays as the bytes of the type that a tensor of an engine has."""

from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import BundleError

Array = npt.NDArray[np.float32]

SIZES = {"FLOAT": 4, "HALF": 2, "BF16": 2}
"""Bytes of one value, by the type's name in TensorRT."""


def encoded(array: Array, kind: str) -> npt.NDArray[Any]:
    """A contiguous array with the values in `kind`, a type as TensorRT names it: "FLOAT", "HALF" or "BF16".

    Values are rounded to the nearest, ties to even. bfloat16, which NumPy lacks, comes as its bits, uint16. Raises
    BundleError for another type.
    """
    single = np.ascontiguousarray(array, np.float32)
    if kind == "FLOAT":
        return single
    if kind == "HALF":
        return single.astype(np.float16)
    if kind == "BF16":
        bits = single.view(np.uint32)
        rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
        return np.where(np.isnan(single), 0x7FC0, rounded).astype(np.uint16)
    raise BundleError(f"an engine takes values of type {kind}, which this runtime does not know: build it again")
