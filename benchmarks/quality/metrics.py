"""Image quality as the field reports it, from scikit-image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """One restored photo against its truth, whole image at native size.

    psnr in dB; ssim in [0, 1]; LAB errors are the sum over the three channels of the mean absolute difference (the
    field's "RMSE"), inside the mask, outside it, and everywhere. NaN where the region is empty.
    """

    psnr: float
    ssim: float
    lab_shadow: float
    lab_lit: float
    lab_all: float


def quality(restored: Image, truth: Image, mask: NDArray[np.bool_]) -> Quality:
    """Compare two uint8[H, W, 3] sRGB photos; mask bool[H, W], True = shadow."""
    from skimage.color import rgb2lab
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    psnr = float("inf") if np.array_equal(restored, truth) else float(peak_signal_noise_ratio(truth, restored))
    side = min(7, *restored.shape[:2])
    ssim = structural_similarity(truth, restored, channel_axis=-1, win_size=side - 1 + side % 2)
    error = np.abs(rgb2lab(restored) - rgb2lab(truth)).sum(-1)

    def mean(values: NDArray[np.float64]) -> float:
        return float(values.mean()) if values.size else float("nan")

    return Quality(psnr, float(ssim), mean(error[mask]), mean(error[~mask]), mean(error))
