"""Where tensors lie beside each other in one block of memory, the same on the device and in its host copy."""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT = 256
"""Bytes, as TensorRT wants addresses."""
Shape = tuple[int, ...]


class Layout:
    """Tensors by name, in order, each at a multiple of ALIGNMENT bytes; `size` bytes in all."""

    def __init__(self, tensors: Mapping[str, tuple[Shape, npt.DTypeLike]]) -> None:
        self.offsets = dict[str, int]()
        """Bytes before each tensor."""
        self._tensors = {name: (shape, np.dtype(kind)) for name, (shape, kind) in tensors.items()}
        self.size = 0
        for name, (shape, kind) in self._tensors.items():
            self.offsets[name] = self.size
            self.size += aligned(prod(shape) * kind.itemsize)

    def addresses(self, first: int) -> dict[str, int]:
        """Of each tensor, in memory that begins at `first`."""
        return {name: first + offset for name, offset in self.offsets.items()}

    def view(self, name: str, memory: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """A tensor in a block of host memory."""
        shape, kind = self._tensors[name]
        return np.ndarray(shape, kind, memory.data, self.offsets[name])


def aligned(size: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT
