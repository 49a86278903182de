"""Photo in, restored photo out: the pipeline from full size to the networks' working size and back."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.bundle import Bundle
from runtime.errors import BundleError, RestoreError
from runtime.full_size import brighten
from runtime.golden_example import GOLDEN_TOLERANCE, psnr, read_golden
from runtime.illumination import log_gain
from runtime.loop import Loop, Progress
from runtime.native import NativeLoop
from runtime.photo import Photo, as_mask, check_pixels, read_photo
from runtime.resizing import enlarged, reduced

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
    """Seconds of each part, and "total"."""
    tile: tuple[int, int] | None = None
    """(height, width) in pixels of the tiles that `native` had to use; None: the networks ran in one piece."""


class Restorer:
    """Restores photos with one bundle; may be called from several threads.

    native_loop: what runs photos at their own size; None: `loop`, on tiles where it must be.
    """

    def __init__(self, bundle: Bundle, loop: Loop, native_loop: Loop | None = None) -> None:
        self.bundle = bundle
        self.loop = loop
        self.native_loop = native_loop or NativeLoop(bundle, loop)

    def through(self, wrap: Callable[[Loop], Loop]) -> "Restorer":
        """A Restorer that runs its loops, whichever a photo needs, inside others."""
        return Restorer(self.bundle, wrap(self.loop), wrap(self.native_loop))

    def __call__(
        self,
        image: Source,
        mask: Source | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        working_size: int | None = None,
        native: bool = False,
        strength: float = 1.0,
        with_prior: bool = False,
        with_mask: bool = True,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a photo.

        mask: 1 (white) = shadow, of the photo's size; None lets the prior find the shadow. steps: one of
        the bundle's step counts. working_size: long side in pixels at which the networks run, never above
        the photo's own; native: run them at the photo's own size, on tiles where memory or an engine does
        not suffice, of which a warning tells and the result's `tile`. strength: 0 leaves the photo as it is, 1
        changes it in full, between them the logarithm of the gain is scaled. with_prior, with_mask: what to
        return beside the photo; the mask costs time. The same input, seed and tile give the same result.
        `progress(done, steps)` is called after each step. Raises RestoreError.
        """
        started = perf_counter()
        table = self.bundle.table(steps)  # complain before any work
        if not 0 <= strength <= 1:
            raise RestoreError(f"strength {strength:g} is out of range: choose 0 (nothing is changed) to 1")
        photo = _decoded(image)
        check_pixels(photo.pixels, "the photo")
        height, width = photo.pixels.shape[:2]
        size = self._long_side(max(height, width), working_size, native)
        plane = None
        if mask is not None:
            name = f"mask {mask}" if isinstance(mask, str | os.PathLike) else "mask"
            plane = _planes(reduced(as_mask(_decoded(mask).pixels, height, width, name), size))
        small = reduced(photo.pixels, size)
        seen = photo.to_srgb(small)
        prepared = perf_counter()

        loop = self.native_loop if native else self.loop
        result = loop.restore(_planes(seen), plane, table, [seed], with_mask, progress)
        networks_done = perf_counter()

        found, clean = _rows(result.image), _rows(result.clean)
        start = photo.from_srgb(seen)

        def carried(restored: Array) -> Pixels:
            return brighten(photo.pixels, small, log_gain(start, photo.from_srgb(restored)), strength)

        image = carried(found)
        prior = carried(clean) if with_prior else None
        full_mask = None if result.mask is None else enlarged(result.mask[0, 0], height, width)
        ended = perf_counter()
        timings = {
            "prepare": prepared - started,
            "prior": result.prior_seconds,
            "diffusion": result.diffusion_seconds,
            "full size": ended - networks_done,
            "total": ended - started,
        }
        return Restored(image, full_mask, np.exp(-log_gain(seen, found)), prior, timings, result.tile)

    def _long_side(self, own: int, working_size: int | None, native: bool) -> int:
        """The long side in pixels at which the networks run, for a photo whose own is `own`."""
        if native and working_size is not None:
            raise RestoreError(f"native means the photo's own size: leave out working size {working_size}")
        size = self.bundle.manifest.model.working_size if working_size is None else working_size
        if size < 1:
            raise RestoreError(f"working size {size} is too small: choose at least 1 pixel")
        return own if native else size

    def check(self) -> float:
        """Run the bundle's golden input and return the PSNR in dB against its golden output.

        Raises BundleError when the golden files are absent or unreadable, or the PSNR is below
        GOLDEN_TOLERANCE.
        """
        golden = read_golden(self.bundle)
        table = self.bundle.table(golden.steps)
        found = psnr(self.loop.restore(golden.image, golden.mask, table, [golden.seed]).image, golden.x)
        if not found >= GOLDEN_TOLERANCE:
            text = f"reproduces its golden output to {found:.1f} dB only, {GOLDEN_TOLERANCE:g} dB are needed"
            raise BundleError(f"bundle {self.bundle.path} {text}: results on this machine cannot be trusted")
        return found


def _decoded(source: Source) -> Photo:
    if isinstance(source, Photo):
        return source
    return Photo(source) if isinstance(source, np.ndarray) else read_photo(source)


def _planes(pixels: Array) -> Array:
    """[H, W, C] -> [1, C, H, W], contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _rows(planes: Array) -> Array:
    """[1, C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(planes[0].transpose(1, 2, 0))
