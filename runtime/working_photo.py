"""A photo on its way: reduced to the working size before the networks, carried back to its own size after them."""

import os
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.full_size.brightening import brighten
from runtime.full_size.illumination import log_gain
from runtime.full_size.resizing import enlarged, reduced
from runtime.loop.loop import Working
from runtime.photo import Photo, as_mask, check_pixels, read_photo

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]
Source = str | os.PathLike[str] | Photo | Pixels
"""A file, a decoded photo, or uint8, uint16 or float (in [0, 1]) pixels [H, W, 3] or [H, W]."""


@dataclass(frozen=True)
class Restored:
    """A restored photo and what was found on the way."""

    image: Pixels
    """Same shape and type as the photo."""
    mask: Array | None
    """Shadow mask float32 [H, W] in [0, 1] at the photo's size, as the denoiser's mask head refined it last; None if
    it was not asked for."""
    illumination: Array
    """h = photo / restored at full strength, in linear light, float32 [h, w, 3]: at the working size, or at the photo's
    with `native`; 1 = unchanged, below 1 = darkened."""
    prior: Pixels | None
    """The degradation prior's result alone, carried to full size the same way; None unless asked for."""
    timings: dict[str, float]
    """Seconds of each part, and "total"; of photos that ran together, each has an equal part of the networks' time."""
    tile: tuple[int, int] | None = None
    """(height, width) in pixels of the tiles that `native` had to use; None: the networks ran in one piece."""


class WorkingPhoto:
    """A photo and its mask at the working size.

    planes: what the networks see, float32 [1, 3, h, w] in [0, 1], sRGB; mask: float32 [1, 1, h, w] in [0, 1], or None.
    """

    def __init__(self, image: Source, mask: Source | None, working_size: int | None) -> None:
        """working_size: long side in pixels, never above the photo's own, None = the photo's own. Raises PhotoError."""
        started = perf_counter()
        self._photo = _decoded(image)
        pixels = self._photo.pixels
        check_pixels(pixels, "the photo")
        self._height, self._width = height, width = pixels.shape[:2]
        size = max(height, width) if working_size is None else working_size
        self.mask = None
        if mask is not None:
            name = f"mask {mask}" if isinstance(mask, str | os.PathLike) else "mask"
            self.mask = _planes(reduced(as_mask(_decoded(mask).pixels, height, width, name), size))
        self._small = reduced(pixels, size)
        self._seen = self._photo.to_srgb(self._small)
        self.planes = _planes(self._seen)
        self._seconds = perf_counter() - started

    def restored(self, result: Working, index: int, seconds: float, strength: float, with_prior: bool) -> Restored:
        """Image number `index` of what a loop made, which took `seconds` for each, at the photo's own size."""
        started = perf_counter()
        found, clean = _rows(result.image[index]), _rows(result.clean[index])
        before = self._photo.from_srgb(self._seen)

        def carried(restored: Array) -> Pixels:
            gain = log_gain(before, self._photo.from_srgb(restored))
            return brighten(self._photo.pixels, self._small, gain, strength)

        image = carried(found)
        prior = carried(clean) if with_prior else None
        mask = None if result.mask is None else enlarged(result.mask[index, 0], self._height, self._width)
        count = len(result.image)
        full_size = perf_counter() - started
        timings = {
            "prepare": self._seconds,
            "prior": result.prior_seconds / count,
            "diffusion": result.diffusion_seconds / count,
            "full size": full_size,
            "total": self._seconds + seconds + full_size,
        }
        return Restored(image, mask, np.exp(-log_gain(self._seen, found)), prior, timings, result.tile)


def _decoded(source: Source) -> Photo:
    if isinstance(source, Photo):
        return source
    return Photo(source) if isinstance(source, np.ndarray) else read_photo(source)


def _planes(pixels: Array) -> Array:
    """[H, W, C] -> [1, C, H, W], contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _rows(planes: Array) -> Array:
    """[C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
