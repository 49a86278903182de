"""From working images to restored ones: the prior, the mask and the diffusion; each way to run them is one file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.loop.networks import Networks, Used

Array = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Working:
    """What a loop makes of working images; all float32 [N, C, h, w], images in [0, 1]."""

    image: Array
    """The restored images."""
    clean: Array
    """The estimates of the clean images: those given, or else the degradation prior's."""
    mask: Array | None
    """The shadow masks as the mask head refined them last, in [0, 1]; None unless asked for."""
    illumination: Array
    """h = y / clean of the prior, limited."""
    prior_seconds: float
    diffusion_seconds: float
    tile: tuple[int, int] | None = None
    """(height, width) in pixels of the tiles that the networks ran on, if they did."""
    used: Used | None = None
    """What ran the networks."""


class Loop(Protocol):
    """Runs the whole method at the working size. Calls may come from any thread; RestoreError says why one failed."""

    title: str
    """What runs it, and on which device, for people."""
    networks: Networks
    """The networks by themselves, for tiles and for checks."""

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
        """Restore images float32 [N, 3, h, w] in [0, 1] of any size, given their masks [N, 1, h, w] in [0, 1].

        Without masks the prior finds the shadows. clean: estimates of the clean images, of the shape of `images` and in
        [0, 1], in place of the prior's; each step then uses them (Eq. 13), whatever the bundle says. Every image has
        its seed; its result does not depend on the others, so a batch equals single images bit for bit.
        `progress(done, total)` counts the steps of all images that are done. Raises RestoreError.
        """


def pad(array: Array, multiple: int) -> Array:
    """Extend [N, C, H, W] right and below to multiples, mirrored; repeated edges where too short to mirror."""
    for axis in (2, 3):
        length = array.shape[axis]
        extra = -length % multiple
        widths = [(0, 0)] * axis + [(0, extra)] + [(0, 0)] * (3 - axis)
        if extra:
            array = np.pad(array, widths, mode="reflect" if extra < length else "edge")
    return array
