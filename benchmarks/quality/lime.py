"""LIME: Guo, Li and Ling, "LIME: Low-light Image Enhancement via Illumination Map Estimation" (2017), sped-up solver.

The photo is divided by its illumination, whose first estimate is the largest channel of every pixel and which is then
smoothed but along edges: t minimises  sum (t - t0)^2 + alpha sum_d W_d / (|grad_d t0| + eps) (grad_d t)^2  (Eq. 18),
one sparse linear system. The paper's denoising afterwards (BM3D) is left out, as in most comparisons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ALPHA, GAMMA, SIGMA = 0.15, 0.8, 2.0
EPSILON = 1e-3


def lime(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brighten a photo uint8[H, W, 3] sRGB."""
    values = image / 255
    light = illumination(values.max(-1)).clip(EPSILON, 1) ** GAMMA
    return np.rint((values / light[..., None]).clip(0, 1) * 255).astype(np.uint8)


def illumination(first: Floats) -> Floats:
    """The smooth map float64[H, W] for a first estimate `first` in [0, 1]."""
    from scipy.sparse import diags, eye
    from scipy.sparse.linalg import spsolve

    height, width = first.shape
    along = [_weights(first, axis) for axis in (0, 1)]
    # D_d^T diag(w) D_d of forward differences: every pixel is tied to the one below it and the one to its right
    below, right = along[0].ravel(), along[1].ravel()
    ties = diags(-below[:-width], width) if height > 1 else 0 * eye(first.size)
    ties = ties + (diags(-right[:-1], 1) if width > 1 else 0)
    ties = ties + ties.T
    system = eye(first.size) + ties - diags(np.asarray(ties.sum(1)).ravel())
    return spsolve(system.tocsc(), first.ravel(), permc_spec="MMD_AT_PLUS_A").reshape(first.shape)


def _weights(first: Floats, axis: int) -> Floats:
    """alpha W / (|grad| + eps) between each pixel and the next along `axis`; 0 where there is none.

    W is the paper's third strategy: small where the gradients of a neighbourhood add up, which is structure, and large
    where they cancel, which is texture.
    """
    from scipy.ndimage import gaussian_filter

    gradient = np.diff(first, axis=axis, append=np.take(first, [-1], axis))
    structure = 1 / (np.abs(gaussian_filter(gradient, SIGMA)) + EPSILON)
    weights = ALPHA * structure / (np.abs(gradient) + EPSILON)
    last = [slice(None), slice(None)]
    last[axis] = slice(-1, None)
    weights[tuple(last)] = 0
    return weights
