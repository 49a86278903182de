"""A photo on its way: reduced to the working size before the networks, carried back to its own size after them."""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError, tell
from shadowdiffusion.runtime.gain.brightening import brighten
from shadowdiffusion.runtime.gain.illumination import log_gain
from shadowdiffusion.runtime.gain.resizing import enlarged, fitted, reduced
from shadowdiffusion.runtime.loop.loop import Working
from shadowdiffusion.runtime.loop.networks import Used
from shadowdiffusion.runtime.shadow_masks import doubts, fits, mask_plane
from shadowdiffusion.runtime.sources import Source, as_photo

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]


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
    notes: tuple[str, ...] = ()
    """What was changed or left out as photo and mask were read, each a phrase for people, with "it" for the photo."""
    used: Used | None = None
    """The backend, the engine, the precision and the device that ran the networks."""


class WorkingPhoto:
    """A photo and its mask at the working size.

    planes: what the networks see, float32 [1, 3, h, w] in [0, 1], sRGB; mask: float32 [1, 1, h, w] in [0, 1], or None;
    clean: a given estimate of the clean photo, as `planes`, or None.
    """

    def __init__(
        self,
        image: Source,
        mask: Source | None,
        working_size: int | None,
        clean: Source | None = None,
        everywhere: bool = False,
    ) -> None:
        """working_size: long side in pixels, never above the photo's own, None = the photo's own. everywhere: whole
        photos are degraded, so that no mask is in doubt. Raises PhotoError.
        """
        started = perf_counter()
        self._photo = as_photo(image, "photo")
        self._notes = self._photo.notes
        pixels = self._photo.pixels
        self._height, self._width = height, width = pixels.shape[:2]
        size = max(height, width) if working_size is None else working_size
        self._small = reduced(pixels, size)
        self._seen = self._photo.to_srgb(self._small)
        self.planes = _planes(self._seen)
        self.mask = None if mask is None else self._mask(mask, everywhere)
        self.clean = None if clean is None else self._clean(clean, size)
        self._seconds = perf_counter() - started

    def _mask(self, mask: Source, everywhere: bool) -> Array:
        """A mask at the working size; a doubtful one is a warning."""
        given = as_photo(mask, "mask")
        name = given.name or "the mask"
        plane = mask_plane(given, name)
        size = self._height, self._width
        if plane.shape != size:
            sizes = f"{name} is {plane.shape[1]}x{plane.shape[0]} pixels, the photo {self._width}x{self._height}"
            if not fits(plane.shape[:2], size):
                turned = " (turned by 90 degrees?)" if fits(plane.shape[::-1], size) else ""
                raise PhotoError(f"{sizes}{turned}: they must have the same proportions")
            self._notes += (f"{sizes}: the mask is resized",)
        small = fitted(plane, *self._seen.shape[:2])
        if not everywhere and (doubt := doubts(small, self._seen)):
            tell(f"{name} {doubt}", stacklevel=2)
        return _planes(small[..., None])

    def _clean(self, clean: Source, size: int) -> Array:
        """The given estimate of the clean photo at the working size."""
        given = as_photo(clean, "clean estimate")
        height, width = given.pixels.shape[:2]
        if (height, width) != (self._height, self._width):
            sizes = f"{width}x{height} pixels, the photo {self._width}x{self._height}"
            raise PhotoError(f"{given.name or 'the clean estimate'} is {sizes}: they must be of the same size")
        return _planes(given.to_srgb(reduced(given.pixels, size)))

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
        seen = np.exp(-log_gain(self._seen, found))
        return Restored(image, mask, seen, prior, timings, result.tile, self._notes, result.used)


def _planes(pixels: Array) -> Array:
    """[H, W, C] -> [1, C, H, W], contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _rows(planes: Array) -> Array:
    """[C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
