"""The classic corrections of exposure: every learned method has to beat them. All take and give uint8[H, W, 3] sRGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

MEAN = 0.45
"""Brightness that `gamma` aims at, sRGB-encoded."""


def gamma(image: Pixels) -> Pixels:
    """One power for all pixels, the one that brings their mean to MEAN."""
    values = image / 255
    mean = np.clip(values.mean(), 1 / 255, 254 / 255)
    return _pixels(values ** (np.log(MEAN) / np.log(mean)))


def histogram_equalisation(image: Pixels) -> Pixels:
    """The brightness V of HSV spread evenly, hue and saturation kept."""
    from skimage.color import hsv2rgb, rgb2hsv
    from skimage.exposure import equalize_hist

    hsv = rgb2hsv(image)
    hsv[..., 2] = equalize_hist(hsv[..., 2])
    return _pixels(hsv2rgb(hsv))


def clahe(image: Pixels) -> Pixels:
    """Contrast-limited adaptive histogram equalisation of V, with the defaults of scikit-image."""
    from skimage.exposure import equalize_adapthist

    return _pixels(equalize_adapthist(image))


def _pixels(values: NDArray[np.floating]) -> Pixels:
    return np.rint(values.clip(0, 1) * 255).astype(np.uint8)
