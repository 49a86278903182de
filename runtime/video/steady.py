"""What changes from frame to frame of a video, kept steady where the scene is: a recursive filter in time.

A network that sees single frames answers each one's noise anew, and the light flickers. The log gain of a frame is
blended with that of the frames before,

    g_t <- (1 - w) g_t + w g_(t-1),      w = memory exp(-(d / tolerance)^2)

where d is how much the pixel itself has changed, over a small window: a bilateral filter in time, so a shadow that
moves takes its gain along at once and a still scene averages over about 1 / (1 - memory) frames. What came before is
first moved by the camera's own shift, found by phase correlation (Kuglin & Hines, 1975), and is forgotten at a cut.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Step
from shadowdiffusion.runtime.gain.illumination import FLOOR, log_gain, to_encoded, to_linear
from shadowdiffusion.runtime.loop.loop import Loop, Progress, Working

Array = npt.NDArray[np.float32]

MEMORY = 0.9
TOLERANCE = 0.02
"""Change of a pixel's 5x5 mean, in [0, 1], at which it has become another: sensor noise stays well below."""
CUT = 0.15
"""Mean change of a frame that is a new scene."""
WINDOW = 5


class _Past(NamedTuple):
    frame: Array
    gain: Array


class SteadyLoop:
    """`runtime.loop.loop.Loop` for the frames of one video, in their order: what it restores is kept steady."""

    def __init__(self, loop: Loop) -> None:
        self.title = loop.title
        self.networks = loop.networks
        self._loop = loop
        self._steady = SteadyGain()

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
        """As `Loop`; several images are frames one after the other."""
        found = self._loop.restore(images, masks, table, seeds, with_mask, progress, clean)
        return replace(found, image=np.stack([self._kept(*pair) for pair in zip(images, found.image, strict=True)]))

    def _kept(self, frame: Array, restored: Array) -> Array:
        """Both float32 [3, h, w] in [0, 1], sRGB-encoded."""
        before, after = (image.transpose(1, 2, 0) for image in (frame, restored))
        gain = self._steady(before, log_gain(before, after))
        light = (to_linear(before) + FLOOR) * np.exp(gain) - FLOOR
        return np.ascontiguousarray(to_encoded(light.clip(0, 1)).transpose(2, 0, 1))


class SteadyGain:
    """Filters the log gains of the frames of one video, in their order."""

    def __init__(self, memory: float = MEMORY, tolerance: float = TOLERANCE) -> None:
        self._memory, self._tolerance = np.float32(memory), np.float32(tolerance)
        self._past: _Past | None = None

    def __call__(self, frame: Array, gain: Array) -> Array:
        """The steady log gain of a frame: float32 [h, w, C]; frame float32 [h, w, C] in [0, 1], sRGB-encoded."""
        if self._past is not None and self._past.frame.shape == frame.shape:
            down, right = shift_between(self._past.frame, frame)
            before, held = (_moved(array, down, right) for array in self._past)
            change = _window_mean(np.abs(_window_mean(frame.mean(axis=2)) - _window_mean(before.mean(axis=2))))
            if float(change.mean()) < CUT:
                weight = self._memory * np.exp(-((change / self._tolerance) ** 2))
                weight *= _moved(np.ones(frame.shape[:2], np.float32), down, right, 0)  # nothing is known of new edges
                gain = gain + weight[..., None] * (held - gain)
        self._past = _Past(frame, gain)
        return gain


def shift_between(before: Array, now: Array) -> tuple[int, int]:
    """By how many pixels (down, right) the picture has moved; (0, 0) where that is not plain to see."""
    first, second = (image.mean(axis=2) for image in (before, now))
    taper = np.outer(*(np.hanning(length + 2)[1:-1] for length in first.shape))
    spectra = [np.fft.rfft2((image - image.mean()) * taper) for image in (first, second)]
    cross = spectra[1] * np.conj(spectra[0])
    cross /= np.abs(cross) + 1e-6 * float(np.abs(cross).max() or 1)
    peaks = np.fft.irfft2(cross, first.shape)
    place = np.unravel_index(int(peaks.argmax()), peaks.shape)
    down, right = (
        int(at) - length if at > length // 2 else int(at) for at, length in zip(place, peaks.shape, strict=True)
    )
    if abs(down) > first.shape[0] // 4 or abs(right) > first.shape[1] // 4:
        return 0, 0
    moved = np.abs(_moved(first, down, right) - second).mean()
    return (down, right) if moved < np.abs(first - second).mean() else (0, 0)


def _moved(array: Array, down: int, right: int, border: float | None = None) -> Array:
    """Shifted [h, w, ...]; what comes into view repeats the edge, or is `border`."""
    result = array
    for axis, by in ((0, down), (1, right)):
        if by:
            length = array.shape[axis]
            position = np.arange(length) - by
            result = result.take(np.clip(position, 0, length - 1), axis)
            if border is not None:
                outside = (position < 0) | (position >= length)
                result[(slice(None),) * axis + (outside,)] = border
    return result


def _window_mean(plane: Array) -> Array:
    """Mean over WINDOW x WINDOW pixels, edges repeated."""
    for axis in (0, 1):
        widths = [(WINDOW // 2 + 1, WINDOW // 2) if a == axis else (0, 0) for a in (0, 1)]
        sums = np.pad(plane, widths, mode="edge").cumsum(axis, dtype=np.float64)
        length = plane.shape[axis]
        ends, starts = sums.take(range(WINDOW, WINDOW + length), axis), sums.take(range(length), axis)
        plane = ((ends - starts) / WINDOW).astype(np.float32)
    return plane
