"""One way in and out of the GPU: pinned host memory for photos and results, so that copies run beside the GPU's work.

Two of them let the photos of one batch go up while the GPU is at the batch before.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.gpu.cuda import Cuda, Event, Pinned
from shadowdiffusion.runtime.gpu.layout import Layout

Array = npt.NDArray[np.float32]


class Slot:
    """incoming, outgoing: what goes up, "y", "stream" and "mask", and comes down, "x", "clean", "h" and "refined".

    first_in, first_out: where on the device they begin. Raises OutOfMemoryError.
    """

    def __init__(self, cuda: Cuda, incoming: Layout, outgoing: Layout, first_in: int, first_out: int) -> None:
        self._cuda, self._incoming, self._outgoing = cuda, incoming, outgoing
        self._first_in, self._first_out = first_in, first_out
        self._up, self._down = Pinned(cuda, incoming.size), Pinned(cuda, outgoing.size)
        self._landing = cuda.allocate(incoming.size)
        self._uploaded = Event(cuda)
        self.started, self.between, self.ended = Event(cuda), Event(cuda), Event(cuda)
        """Passed by the stream before the networks, after the prior, and when all results are in host memory."""

    def send(self, y: Array, mask: Array | None, seeds: Sequence[int]) -> None:
        """Queue the upload beside the stream's work, and let the stream's coming work find it in place.

        y: float32 [N, 3, h, w]; mask: [N, 1, h, w] or None. What this slot sent before must have come back.
        """
        self._in("y")[...] = y
        stream = self._in("stream")
        stream[...] = 0  # image, top and left: each photo gets the noise that it would get alone
        stream[:, 0] = np.array(seeds, np.uint64).view(np.int64)
        if mask is not None:
            self._in("mask")[...] = mask
        size = self._incoming.size if mask is not None else self._incoming.offsets["mask"]
        cuda = self._cuda
        cuda.upload(self._landing.address, self._up.bytes[:size], cuda.upload_stream)
        self._uploaded.record(cuda.upload_stream)
        self._uploaded.hold(cuda.stream)
        cuda.copy(self._first_in, self._landing.address, size)

    def receive(self, with_mask: bool) -> None:
        """Queue the download; after `ended.synchronize` the results are in `result`."""
        size = self._outgoing.size if with_mask else self._outgoing.offsets["refined"]
        self._cuda.download(self._down.bytes[:size], self._first_out)
        self.ended.record(self._cuda.stream)

    def result(self, name: str) -> Array:
        """A view of what came down, valid until the slot is used again."""
        return self._outgoing.view(name, self._down.bytes)

    def _in(self, name: str) -> npt.NDArray[Any]:
        return self._incoming.view(name, self._up.bytes)
