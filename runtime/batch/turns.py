"""Photos side by side, but one at a time in the networks, which keep all cores or the GPU busy by themselves."""

from collections.abc import Sequence
from threading import Lock

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.loop.loop import Loop, Progress, Working

Array = npt.NDArray[np.float32]


class OneAtATime:
    """`runtime.loop.loop.Loop` that lets one thread in; the others read, write and apply the light meanwhile.

    Loops that share `turn` count as one.
    """

    def __init__(self, loop: Loop, turn: Lock) -> None:
        self.title = loop.title
        self.networks = loop.networks
        self._loop = loop
        self._turn = turn

    def restore(
        self,
        images: Array,
        masks: Array | None,
        table: Sequence[Step],
        seeds: Sequence[int],
        with_mask: bool = False,
        progress: Progress | None = None,
        clean: Array | None = None,
    ) -> Working:
        """As `Loop`; `progress(0, steps)` says that the turn has come."""
        with self._turn:
            if progress is not None:
                progress(0, len(table))
            return self._loop.restore(images, masks, table, seeds, with_mask, progress, clean)
