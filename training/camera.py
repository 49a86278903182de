"""What a camera makes of light: tone curve, eight bits, JPEG; and the pairs that synthetic degradations yield."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # [H, W, 3]
Field = NDArray[np.float32]  # [H, W]

_GRID = np.linspace(0, 1, 1025)


@dataclass(frozen=True)
class Pair:
    """One training sample; float32 in [0, 1], images sRGB-encoded [H, W, 3], fields [H, W]."""

    degraded: Picture
    clean: Picture
    mask: Field
    matte: Field


@dataclass(frozen=True)
class Curve:
    """Tone curve of a camera between light, linear in [0, white], and pixel values in [0, 1].

    Light passes a shoulder (Reinhard et al., "Photographic Tone Reproduction", 2002, Eq. 4), the gamma, and an S.

    exponent: of the gamma; 0 stands for the curve of sRGB.
    white: light that is shown as 1, at least 1; 1 has no shoulder.
    contrast: of the S in [0, 1); 0 has none.
    """

    exponent: float = 0.0
    white: float = 1.0
    contrast: float = 0.0

    def decode(self, pixels: Picture) -> Picture:
        """Light in [0, white] of pixel values in [0, 1]."""
        if self.contrast:
            pixels = np.interp(pixels, self._s(_GRID), _GRID).astype(np.float32)
        shown = pixels**self.exponent if self.exponent else to_linear(pixels)
        square, rest = self.white**2, 1 - shown
        return np.asarray(square / 2 * (np.sqrt(rest**2 + 4 * shown / square) - rest), np.float32)

    def encode(self, light: Picture) -> Picture:
        """Pixel values in [0, 1] of light of any strength; inverse of `decode` in [0, white]."""
        light = np.clip(light, 0, self.white)
        shown = np.asarray(light * (1 + light / self.white**2) / (1 + light), np.float32)
        pixels = shown ** (1 / self.exponent) if self.exponent else to_srgb(shown)
        return self._s(pixels).astype(np.float32)

    def _s(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        return x + self.contrast * x * (1 - x) * (2 * x - 1)  # between x and 3x^2 - 2x^3


def save_pixels(rng: np.random.Generator, photo: Picture, jpeg: float) -> Picture:
    """The photo in eight bits, and with probability `jpeg` after JPEG compression (quality 75 to 97)."""
    pixels = np.round(photo * 255).astype(np.uint8)
    if rng.random() < jpeg:
        pixels = _jpeg(pixels, int(rng.integers(75, 98)))
    return (pixels / np.float32(255)).astype(np.float32)


def to_linear(srgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light of sRGB-encoded values, both in [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def to_srgb(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB-encoded values of linear light, both in [0, 1]; inverse of `to_linear`."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    import pyvips

    data = pyvips.Image.new_from_array(pixels).jpegsave_buffer(Q=quality)
    return np.asarray(pyvips.Image.new_from_buffer(data, "").numpy(), dtype=np.uint8)
