"""An engine takes the image sizes it was built for; photos of other sizes go to another loop."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.engines import EngineKey
from shadowdiffusion.runtime.bundle.folder import Bundle, Step
from shadowdiffusion.runtime.forking import survive_forks
from shadowdiffusion.runtime.loop.loop import Loop, Progress, Working

Array = npt.NDArray[np.float32]


def image_sizes(key: EngineKey) -> list[tuple[int, int]]:
    """(height, width) in pixels of an engine's profile: smallest, best and largest."""
    return [(int(h), int(w)) for h, w in (size.split("x") for size in key.profile.split(":"))]


def batch_sizes(key: EngineKey) -> list[int]:
    """Images at once: smallest, best and largest."""
    return [int(size) for size in key.batch.split(":")]


def covers(key: EngineKey, images: int, height: int, width: int) -> bool:
    """Whether a batch of that many images of this size, in pixels, is within the engine's profile."""
    lows, _, highs = zip(batch_sizes(key), *zip(*image_sizes(key), strict=True), strict=True)
    return all(low <= size <= high for low, size, high in zip(lows, (images, height, width), highs, strict=True))


def covers_photos(key: EngineKey, side: int, multiple: int) -> bool:
    """Whether photos of 3:2 and 2:3 with a long side of `side`, padded to multiples of `multiple`, are within it."""
    long, short = (-(-length // multiple) * multiple for length in (side, round(side * 2 / 3)))
    return covers(key, 1, long, short) and covers(key, 1, short, long)


class WithinProfile:
    """The loop of an engine where its profile covers the images, else the one that `others` opens.

    `say` hears of the first image that the engine does not take.
    """

    def __init__(
        self, engine: Loop, bundle: Bundle, key: EngineKey, others: Callable[[], Loop], say: Callable[[str], None]
    ) -> None:
        self.title = engine.title
        self.networks = engine.networks
        self._engine, self._key, self._open_others, self._say = engine, key, others, say
        self._multiple = bundle.manifest.model.multiple
        self._others: Loop | None = None
        self._lock = threading.Lock()
        survive_forks(self)

    def before_fork(self) -> None:
        """Wait until no other loop is being opened."""
        self._lock.acquire()

    def after_fork(self, child: bool) -> None:
        """Go on; this thread holds the lock in both processes."""
        self._lock.release()

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
        """As `Loop`."""
        return self._for(images.shape).restore(images, masks, table, seeds, with_mask, progress, clean)

    def _for(self, shape: tuple[int, ...]) -> Loop:
        height, width = (-(-length // self._multiple) * self._multiple for length in shape[2:])
        if covers(self._key, 1, height, width):  # loops divide what is too much for their networks at once
            return self._engine
        with self._lock:
            if self._others is None:
                self._others = self._open_others()
                sizes = f"{width}x{height} pixels are outside the profile {self._key.profile} (height x width)"
                self._say(f"{sizes} of {self.title}: using {self._others.title}")
            return self._others
