"""Photo in, restored photo out: the pipeline from full size to the networks' working size and back."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from runtime.bundle import GOLDEN_EXPECTED, GOLDEN_INPUT, Bundle, Step
from runtime.errors import BundleError, RestoreError
from runtime.illumination import apply_gain, enlarge, log_gain
from runtime.networks import Networks
from runtime.noise import gaussian
from runtime.photo import WHOLE, as_mask, check_pixels, read_photo, unit_floats
from runtime.prior_update import confident_mask, illumination
from runtime.sampler import sample

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[Any]
Progress = Callable[[int, int], None]

GOLDEN_TOLERANCE = 50.0
"""PSNR in dB that a healthy installation reaches against the bundle's golden output."""


@dataclass(frozen=True)
class Restored:
    """A restored photo and what was found on the way."""

    image: Pixels
    """Same shape and type as the photo."""
    mask: Array | None
    """Shadow mask float32 [H, W] in [0, 1] at the photo's size, as the denoiser's mask head refined it last; None if
    it was not asked for."""
    illumination: Array
    """h = y / clean of the prior, sRGB-encoded, float32 [h, w, 3] at the working size; 1 = unchanged."""
    prior: Pixels | None
    """The degradation prior's result alone, carried to full size the same way; None unless asked for."""
    timings: dict[str, float]
    """Seconds of each part, and "total"."""


@dataclass(frozen=True)
class Working:
    """What the networks make of a working image; all float32 [1, C, h, w], images in [0, 1]."""

    image: Array
    clean: Array
    mask: Array | None
    illumination: Array
    prior_seconds: float
    diffusion_seconds: float


@dataclass(frozen=True)
class Golden:
    """A working image and mask, float32 [1, C, h, w] in [0, 1], and x, what the reference sampler made of them."""

    image: Array
    mask: Array
    x: Array
    seed: int
    steps: int


class Restorer:
    """Restores photos with one bundle; may be called from several threads."""

    def __init__(self, bundle: Bundle, networks: Networks) -> None:
        self.bundle = bundle
        self._networks = networks

    def __call__(
        self,
        image: str | os.PathLike[str] | Pixels,
        mask: str | os.PathLike[str] | Pixels | None = None,
        steps: int | None = None,
        seed: int = 0,
        working_size: int | None = None,
        with_prior: bool = False,
        with_mask: bool = True,
        progress: Progress | None = None,
    ) -> Restored:
        """Restore a photo: a file, or uint8, uint16 or float (in [0, 1]) pixels [H, W, 3] or [H, W].

        mask: 1 (white) = shadow, of the photo's size; None lets the prior find the shadow. steps: one of
        the bundle's step counts. working_size: long side in pixels at which the networks run, never above
        the photo's own. with_prior, with_mask: what to return beside the photo; the mask costs time.
        The same input and seed give the same result. `progress(done, steps)` is called
        after each step. Raises RestoreError.
        """
        started = perf_counter()
        self.table(steps)  # complain before any work
        model = self.bundle.manifest.model
        size = model.working_size if working_size is None else working_size
        if size < 1:
            raise RestoreError(f"working size {size} is too small: choose at least 1 pixel")
        pixels = image if isinstance(image, np.ndarray) else read_photo(image).pixels
        check_pixels(pixels, "the photo")
        small = _shrink(pixels, size)
        height, width = pixels.shape[:2]
        plane = None
        if mask is not None:
            name = "mask" if isinstance(mask, np.ndarray) else f"mask {mask}"
            given = mask if isinstance(mask, np.ndarray) else read_photo(mask).pixels
            plane = _planes(_shrink(as_mask(given, height, width, name), size))
        y = _planes(np.broadcast_to(small, (*small.shape[:2], 3)))
        prepared = perf_counter()

        result = self.restore_working(y, plane, steps, seed, progress, with_mask)
        networks_done = perf_counter()

        to_full = partial(_to_full, pixels, y)
        restored = to_full(result.image)
        prior = to_full(result.clean) if with_prior else None
        full_mask = None if result.mask is None else enlarge(result.mask[0, 0], height, width)
        ended = perf_counter()
        timings = {
            "prepare": prepared - started,
            "prior": result.prior_seconds,
            "diffusion": result.diffusion_seconds,
            "full size": ended - networks_done,
            "total": ended - started,
        }
        return Restored(restored, full_mask, _pixels(result.illumination), prior, timings)

    def check(self) -> float:
        """Run the bundle's golden input and return the PSNR in dB against its golden output.

        Raises BundleError when the golden files are absent or unreadable, or the PSNR is below
        GOLDEN_TOLERANCE.
        """
        golden = self.golden_example()
        found = psnr(self.restore_working(golden.image, golden.mask, golden.steps, golden.seed).image, golden.x)
        if not found >= GOLDEN_TOLERANCE:
            text = f"reproduces its golden output to {found:.1f} dB only, {GOLDEN_TOLERANCE:g} dB are needed"
            raise BundleError(f"bundle {self.bundle.path} {text}: results on this machine cannot be trusted")
        return found

    def golden_example(self) -> Golden:
        """The example that came with the bundle. Raises BundleError when its files are absent or unreadable."""
        given = self._golden(GOLDEN_INPUT, "image", "mask", "seed", "steps")
        image, mask = given["image"].astype(np.float32), given["mask"].astype(np.float32)
        x = self._golden(GOLDEN_EXPECTED, "x")["x"].astype(np.float32)
        return Golden(image, mask, np.clip(x, 0, 1), int(given["seed"]), int(given["steps"]))

    def _golden(self, name: str, *keys: str) -> dict[str, Any]:
        if name not in self.bundle.manifest.files:
            raise BundleError(f"bundle {self.bundle.path} has no {name} to check against")
        try:
            with np.load(self.bundle.path / name, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in keys}
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise BundleError(f"{name} of bundle {self.bundle.path} is not readable: {error}") from error

    def table(self, steps: int | None) -> list[Step]:
        """The schedule for a step count, None for the default. Raises RestoreError if the bundle has none."""
        sampling = self.bundle.manifest.sampling
        key = str(sampling.default_steps if steps is None else steps)
        if key not in sampling.tables:
            supported = ", ".join(map(str, sampling.supported_steps))
            raise RestoreError(f"this bundle has no schedule for {key} steps: choose one of {supported}")
        return sampling.tables[key]

    def restore_working(
        self,
        image: Array,
        mask: Array | None = None,
        steps: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        with_mask: bool = False,
    ) -> Working:
        """Prior and diffusion alone: image float32 [1, 3, h, w] and mask [1, 1, h, w] in [0, 1], any size.

        Raises RestoreError.
        """
        table = self.table(steps)
        model = self.bundle.manifest.model
        height, width = image.shape[2:]
        y = _pad(image, model.multiple)
        started = perf_counter()
        mask = self._find_mask(y) if mask is None else _pad(mask, model.multiple)
        clean = self._networks.prior(y, mask)[0] if self.bundle.has_prior else y
        h = illumination(y, clean, model.illumination)
        prior_done = perf_counter()

        def noise(step: int) -> Array:
            return gaussian(*y.shape[2:], seed=seed, step=step)[None]

        sampling = self.bundle.manifest.sampling
        denoise = self._networks.denoise
        x, found = sample(denoise, y, mask, h, clean, noise, sampling, table, progress, with_mask)
        x += 1
        x /= 2
        np.clip(x, 0, 1, out=x)
        ended = perf_counter()
        x, clean, h = (array[:, :, :height, :width] for array in (x, clean, h))
        found = None if found is None else found[:, :, :height, :width]
        return Working(x, clean, found, h, prior_done - started, ended - prior_done)

    def _find_mask(self, y: Array) -> Array:
        """Where the prior, asked without a mask, is sure of a shadow: float32 [N, 1, h, w] of 0 and 1."""
        if not self.bundle.has_prior:
            raise RestoreError("this bundle has no prior network to find the shadow with: give a mask")
        model = self.bundle.manifest.model
        unknown = np.full((y.shape[0], 1, *y.shape[2:]), model.blind_mask, np.float32)
        _, matte = self._networks.prior(y, unknown)
        return confident_mask(matte, model.matte_threshold)


def psnr(result: Array, reference: Array) -> float:
    """Peak signal-to-noise ratio in dB of images in [0, 1]; infinite where they are equal."""
    error = float(np.mean((result.astype(np.float64) - reference) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def _shrink(pixels: Pixels, long_side: int) -> Array:
    """float32 [h, w, C] in [0, 1], long side at most `long_side`, reduced with a triangle filter; never
    enlarged.
    """
    height, width = pixels.shape[:2]
    factor = long_side / max(height, width)
    if factor >= 1:
        return np.atleast_3d(unit_floats(pixels))
    import pyvips

    if pixels.dtype.kind != "u":
        pixels = pixels.astype(np.float32)
    kind = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}[pixels.dtype.name]
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels), width, height, bands, kind)
    small_height, small_width = max(1, round(height * factor)), max(1, round(width * factor))
    image = image.cast("float").resize(small_width / width, vscale=small_height / height, kernel="linear")
    values: Array = image.numpy().reshape(small_height, small_width, bands)
    values /= WHOLE.get(pixels.dtype.name, 1)
    return values.clip(0, 1)


def _to_full(pixels: Pixels, degraded: Array, restored: Array) -> Pixels:
    """Carry the change from `degraded` to `restored` (float32 [1, 3, h, w] in [0, 1]) over to the
    full-size photo.
    """
    gain = log_gain(_pixels(degraded), _pixels(restored))
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return apply_gain(pixels, gain)
    grey = gain.mean(axis=2, keepdims=True, dtype=np.float32)
    return apply_gain(pixels.reshape(*pixels.shape[:2], 1), grey).reshape(pixels.shape)


def _pad(array: Array, multiple: int) -> Array:
    """Extend [N, C, H, W] right and below to multiples, mirrored; repeated edges where too short to
    mirror.
    """
    for axis in (2, 3):
        length = array.shape[axis]
        extra = -length % multiple
        widths = [(0, 0)] * axis + [(0, extra)] + [(0, 0)] * (3 - axis)
        if extra:
            array = np.pad(array, widths, mode="reflect" if extra < length else "edge")
    return array


def _planes(pixels: Array) -> Array:
    """[H, W, C] -> [1, C, H, W], contiguous."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def _pixels(planes: Array) -> Array:
    """[1, C, H, W] -> [H, W, C]."""
    return np.ascontiguousarray(planes[0].transpose(1, 2, 0))
