"""MATLAB's `imresize` with its default, antialiased bicubic interpolation: what the field resizes photos with.

Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), a = -1/2, stretched by the factor when the
image becomes smaller; beyond its borders the image is mirrored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def imresize(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """[H, W] or [H, W, C] to [height, width(, C)].

    Floating-point images give float64 that may leave the range of the input. uint8 is rounded and clipped after each
    axis, as MATLAB does.
    """
    lengths = (height, width)
    # the axis that shrinks most comes first, which matters for rounded images only
    for axis in sorted((0, 1), key=lambda a: lengths[a] / image.shape[a]):
        if lengths[axis] != image.shape[axis]:
            resized = np.moveaxis(np.tensordot(_weights(image.shape[axis], lengths[axis]), image, (1, axis)), 0, axis)
            image = np.floor(resized + 0.5).clip(0, 255).astype(np.uint8) if image.dtype == np.uint8 else resized
    return image


def _weights(source: int, target: int) -> Floats:
    """float64[target, source]: what each pixel of the result takes of each pixel of the source."""
    factor = target / source
    stretch = min(factor, 1.0)
    centre = (np.arange(target) + 0.5) / factor - 0.5
    reach = int(np.ceil(4 / stretch)) + 2
    taps = np.floor(centre - 2 / stretch).astype(int)[:, None] + np.arange(reach)
    weights = _cubic((centre[:, None] - taps) * stretch)
    weights /= weights.sum(1, keepdims=True)
    mirrored = taps % (2 * source)
    mirrored = np.where(mirrored < source, mirrored, 2 * source - 1 - mirrored)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], mirrored), weights)
    return matrix


def _cubic(x: Floats) -> Floats:
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
