"""An engine takes the image sizes it was built for; photos of other sizes go to the portable networks."""

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from runtime.bundle import Step
from runtime.engines import EngineKey
from runtime.networks import Networks

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
    """Networks of an engine where its profile covers the images, else those that `others` opens.

    `say` hears of the first image that the engine does not take.
    """

    def __init__(
        self, engine: Networks, key: EngineKey, others: Callable[[], Networks], say: Callable[[str], None]
    ) -> None:
        self.title = engine.title
        self._engine, self._key, self._open_others, self._say = engine, key, others, say
        self._others: Networks | None = None
        self._lock = threading.Lock()

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """As `runtime.networks.Networks`."""
        return self._for(image).prior(image, mask)

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """As `runtime.networks.Networks`."""
        return self._for(y).denoise(y, mask, x_t, step, with_mask)

    def _for(self, image: Array) -> Networks:
        images, _, height, width = image.shape
        if covers(self._key, images, height, width):
            return self._engine
        with self._lock:
            if self._others is None:
                self._others = self._open_others()
                sizes = f"{width}x{height} pixels are outside the profile {self._key.profile} (height x width)"
                self._say(f"{sizes} of {self.title}: using {self._others.title}")
            return self._others
