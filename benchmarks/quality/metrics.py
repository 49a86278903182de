"""Image quality as the field reports it, from scikit-image: in the shadow, outside it and everywhere."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]

CEILING = 100.0
"""dB of images that are equal, so that one of them does not make a mean infinite."""


class Region(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Likeness to the truth in one part of a photo.

    pixels: of the part. psnr: dB, and ssim: of the two photos with everything outside the part black, over the whole
    photo, as the field's scripts compute them. lab: mean over the part's pixels of the absolute difference in CIELAB,
    summed over the channels (the field's "RMSE").
    """

    pixels: int
    psnr: float
    ssim: float
    lab: float


class Quality(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One restored photo against its truth; None: a part without pixels, or a photo without a mask."""

    whole: Region
    shadow: Region | None
    lit: Region | None


def quality(restored: Image, truth: Image, mask: Mask | None) -> Quality:
    """Compare two sRGB photos float[H, W, 3] in [0, 1]; mask bool[H, W], True = shadow."""
    from skimage.color import rgb2lab

    error = np.abs(rgb2lab(restored) - rgb2lab(truth)).sum(-1)
    everywhere = np.ones(truth.shape[:2], np.bool_)
    parts = (everywhere, None, None) if mask is None else (everywhere, mask, ~mask)
    whole, shadow, lit = (_region(restored, truth, error, part) for part in parts)
    assert whole is not None
    return Quality(whole, shadow, lit)


def _region(restored: Image, truth: Image, error: Image, part: Mask | None) -> Region | None:
    if part is None or not part.any():
        return None
    if not part.all():
        restored, truth = restored * part[..., None], truth * part[..., None]
    return Region(int(part.sum()), psnr(restored, truth), ssim(restored, truth), float(error[part].mean()))


def psnr(restored: Image, truth: Image) -> float:
    """dB for a peak of 1, CEILING at most."""
    error = float(np.square(restored.astype(np.float64) - truth).mean())
    return min(CEILING, -10 * math.log10(error)) if error else CEILING


def ssim(restored: Image, truth: Image) -> float:
    """Structural similarity in uniform windows of 7 x 7, mean over pixels and channels: scikit-image's default."""
    from skimage.metrics import structural_similarity

    side = min(7, *truth.shape[:2])
    return float(structural_similarity(truth, restored, channel_axis=-1, win_size=side - 1 + side % 2, data_range=1.0))
