"""The networks at the photo's own size: in one piece where that can be done, else on tiles as large as possible."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Bundle, ModelInfo, Step
from shadowdiffusion.runtime.errors import OutOfMemoryError, tell
from shadowdiffusion.runtime.loop.host_loop import HostLoop
from shadowdiffusion.runtime.loop.loop import Loop, Progress, Working
from shadowdiffusion.runtime.loop.memory import available_memory, own_memory
from shadowdiffusion.runtime.loop.networks import Networks
from shadowdiffusion.runtime.loop.tiles import OVERLAP, TiledNetworks, tile_count

Array = npt.NDArray[np.float32]
Size = tuple[int, int]
"""(height, width) in pixels."""

GIB = 2**30
SMALLEST = 128
"""Pixels: smaller tiles see too little of a photo to be worth it."""
SHARE = 0.8
"""Of the memory that is there, so much is taken at most."""
LOOP_BYTES = 350
"""Bytes per pixel of the photo that the loop takes beside the networks, measured at 6 megapixels."""


def network_bytes(model: ModelInfo) -> float:
    """Bytes per pixel that ONNX Runtime takes for both networks on a CPU, an upper estimate.

    0.015 times the number of parameters to the power of 0.7, for each network. Measured with ONNX Runtime 1.32 at 0.3
    to 3 megapixels: up to 300 and 660 bytes for prior and denoiser of 3.5 and 4.5 million parameters (estimated: 580
    and 690), 580 and 3,900 for those of 20 and 56 million (1,930 and 4,000).
    """
    counts = np.array([model.prior_parameters or 0, model.denoiser_parameters])
    return float(np.sum(0.015 * counts**0.7))


class Choice(NamedTuple):
    """A tile, and why it is not larger ("" if it is the whole image)."""

    tile: Size
    reason: str


class NativeLoop:
    """`Loop` over another one, for images at their own size, one at a time as each may fill the memory.

    Where one does not fit, it is run on tiles, and a warning says so. Where memory runs out all the same, tiles get
    smaller by half until it works. Images of one size keep their tile as long as it fits.
    """

    def __init__(self, bundle: Bundle, loop: Loop) -> None:
        self.title = loop.title
        self.networks = loop.networks
        self._bundle, self._loop = bundle, loop
        self._turn = Lock()
        self._known: dict[Size, Choice] = {}
        self._held = 0
        """Bytes that the networks keep for the next image."""

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
        """As `Loop`. Raises OutOfMemoryError where nothing helps."""
        multiple = self._bundle.manifest.model.multiple
        height, width = (_up(length, multiple) for length in images.shape[2:])
        arguments = images, masks, table, seeds, with_mask, progress, clean
        with self._turn:
            while True:
                choice = self._choice((height, width))
                before = own_memory()
                try:
                    found = self._over(choice, (height, width)).restore(*arguments)
                except OutOfMemoryError as error:
                    self._known[height, width] = self._smaller(choice, (height, width), error)
                except MemoryError as error:
                    text = f"{width}x{height} pixels do not fit into memory: leave out native"
                    raise OutOfMemoryError(text) from error
                else:
                    self._hold(own_memory() - before, found)
                    return replace(found, tile=None if choice.tile == (height, width) else choice.tile)

    def _choice(self, whole: Size) -> Choice:
        """The tile for images of a padded size: the one that they had, or a smaller one if memory has become short."""
        free = available_memory()
        room = None if free is None else free + self._held
        model = self._bundle.manifest.model
        choice = fitting(self._known.get(whole, Choice(whole, "")), whole, room, model, self.networks)
        self._known[whole] = choice
        return choice

    def _hold(self, grown: int, found: Working) -> None:
        """Of the bytes by which this process has grown, the result leaves with the photo."""
        if self.networks.on_host:
            arrays = (found.image, found.clean, found.mask, found.illumination)
            self._held = max(self._held, grown - sum(array.nbytes for array in arrays if array is not None))

    def _over(self, choice: Choice, whole: Size) -> Loop:
        if choice.tile == whole:
            return self._loop
        multiple = self._bundle.manifest.model.multiple
        down, across = (tile_count(*pair) for pair in zip(whole, choice.tile, strict=True))
        grid = f"{across}x{down} overlapping tiles of {choice.tile[1]}x{choice.tile[0]} pixels"
        text = f"native size {whole[1]}x{whole[0]} is run on {grid}, not quite as good as in one piece: {choice.reason}"
        tell(text, stacklevel=3)
        return HostLoop(self._bundle, TiledNetworks(self.networks, choice.tile, multiple))

    def _smaller(self, choice: Choice, whole: Size, error: OutOfMemoryError) -> Choice:
        tile = halved(choice.tile, whole, self._bundle.manifest.model.multiple, self.networks)
        if tile == choice.tile:
            text = f"memory ran out even with tiles of {tile[1]}x{tile[0]} pixels"
            raise OutOfMemoryError(f"{text}: leave out native, or end other programs ({error})") from error
        return Choice(tile, f"memory ran out ({error})")


def fitting(choice: Choice, whole: Size, free: int | None, model: ModelInfo, networks: Networks) -> Choice:
    """The choice, or its largest half that networks take by their profile and, on a CPU, by the memory `free`.

    Images smaller than the profile allows cannot be cut to fit: they are left to the loop. Raises OutOfMemoryError
    where not even the loop around the networks has room.
    """
    tile, reason = choice
    if networks.sizes is not None:
        low, high = networks.sizes
        if any(length < least for length, least in zip(whole, low, strict=True)):
            return choice
        limit = min(tile[0], high[0]), min(tile[1], high[1])
        if limit != tile:
            tile = _down(limit[0], model.multiple), _down(limit[1], model.multiple)
            reason = f"{networks.title} takes {high[1]}x{high[0]} at most"
    if free is None:
        return Choice(tile, reason)
    loop, each = LOOP_BYTES * whole[0] * whole[1], network_bytes(model) if networks.on_host else 0.0
    if loop > SHARE * free:
        figures = f"{loop / SHARE / GIB:.1f} GiB are needed, {free / GIB:.1f} are free"
        raise OutOfMemoryError(f"{whole[1]}x{whole[0]} pixels do not fit into memory ({figures}): leave out native")
    short = ""
    while (needed := (loop + each * tile[0] * tile[1]) / SHARE) > free:
        smaller = halved(tile, whole, model.multiple, networks)
        if smaller == tile:
            break  # it may work all the same: the estimate is a high one
        short = short or f"{tile[1]}x{tile[0]} needs {needed / GIB:.1f} GiB of memory, {free / GIB:.1f} are free"
        tile = smaller
    return Choice(tile, short or reason)


def halved(tile: Size, whole: Size, multiple: int, networks: Networks) -> Size:
    """Twice as many tiles along the longer side, as evenly as can be; `tile` itself where they would be too small."""
    axis = 0 if tile[0] >= tile[1] else 1
    least = max(SMALLEST, networks.sizes[0][axis] if networks.sizes else 0)
    count = 2 * tile_count(whole[axis], tile[axis])
    length = _up(max(least, -(-(whole[axis] + (count - 1) * OVERLAP) // count)), multiple)
    if length >= tile[axis]:
        return tile
    return (length, tile[1]) if axis == 0 else (tile[0], length)


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


def _down(length: int, multiple: int) -> int:
    return length // multiple * multiple
