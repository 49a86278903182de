"""What the loop on the GPU asks of networks: to run on memory that is there already. A backend is one file for it."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.gpu.cuda import Cuda
from shadowdiffusion.runtime.gpu.layout import Shape
from shadowdiffusion.runtime.loop.networks import Networks

Array = npt.NDArray[np.float32]
Tensors = dict[str, dict[str, Any]]
"""As in `runtime.bundle.engines.NetworkRecord`."""
Bound = Mapping[str, tuple[int, Shape]]
"""Address and shape of tensors by name."""


class Execution(Protocol):
    """A network at one image size with all its memory in place, so that nothing but its launch is left."""

    addresses: dict[str, int]
    shapes: dict[str, Shape]
    """Of every input and output."""

    def enqueue(self) -> None:
        """Give the network to the stream. Raises RestoreError if it is refused, which it may be in a capture."""

    @property
    def uncapturable(self) -> str | None:
        """Why a CUDA graph cannot hold it, as far as that is known beforehand."""


class DeviceNetworks(Networks, Protocol):
    """Networks whose work goes to the stream of `cuda`."""

    cuda: Cuda
    lock: threading.Lock
    """For whoever uses that stream."""
    batch: int
    """Images at once, at most."""

    @property
    def time_name(self) -> str:
        """The denoiser's input for time."""

    def times(self, table: Sequence[Step], count: int) -> Array:
        """What that input is at each step, for so many images: float32 [S, ...]."""

    def tensors(self, name: str) -> Tensors:
        """Inputs and outputs of one of the networks. Raises RestoreError."""

    def check_size(self, name: str, count: int, height: int, width: int) -> None:
        """Raise RestoreError unless a network takes so many images of this size, in pixels."""

    def execution(self, name: str, inputs: Bound, outputs: Bound) -> Execution:
        """One of the networks on that memory; outputs that are not wanted anywhere get memory of their own.

        Raises OutOfMemoryError where there is too little, and RestoreError.
        """
