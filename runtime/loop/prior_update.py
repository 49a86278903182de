"""The closed-form updates that tie the diffusion estimate to the degradation model y = h x.

ShadowDiffusion (CVPR 2023): supplement Eq. A (degradation), Eq. 13 (image update) and Eq. 14 (mask
update). Arrays are float32; images y and clean are sRGB-encoded [N, 3, H, W] in [0, 1], masks [N, 1, H,
W] in [0, 1], h [N, 3, H, W] >= 0.
"""

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.bundle.folder import Illumination

Array = npt.NDArray[np.float32]

CONFIDENT = 0.9  # a mask value from which a pixel counts as surely degraded


def illumination(y: Array, clean: Array, limits: Illumination) -> Array:
    """h = clamp((y + photo_epsilon) / (clean + epsilon), floor, ceiling): how much darker y is than the clean
    photo.
    """
    h: Array = y + np.float32(limits.added_to_photo)
    h /= clean + np.float32(limits.epsilon)
    np.clip(h, np.float32(limits.floor), np.float32(limits.ceiling), out=h)
    return h


def confident_mask(matte: Array, threshold: float) -> Array:
    """1 where the prior's matte reaches `threshold`, else 0: the shadow when nobody has drawn it."""
    return (matte >= np.float32(threshold)).astype(np.float32)


def blend_coefficients(y: Array, h: Array, rho: float) -> tuple[Array, Array]:
    """(A, B) such that the data-consistent image of an estimate z in [-1, 1] is A + B z (Eq. 13).

    A = (2 h y - h^2) / (h^2 + rho), B = rho / (h^2 + rho): free of the division by h^2 that overflows for
    small h.
    """
    square = h * h
    scale = np.float32(1) / (square + np.float32(rho))
    a = np.float32(2) * h * y
    a -= square
    a *= scale
    scale *= np.float32(rho)
    return a, scale


def closed_form_mask(h: Array, predicted: Array, mask: Array, rho: float) -> Array:
    """Eq. 14: m = (sum_c (1 - w_c)(1 - h_c) + rho v) / (sum_c (1 - w_c)^2 + rho), clamped to [0, 1].

    v is the predicted mask and w_c the mean of h_c over confident shadow, where the photo's own `mask` is at
    least CONFIDENT; m = v if there is none. Needs rho > 0.
    """
    confident = mask >= CONFIDENT
    count = np.maximum(confident.sum(axis=(2, 3), keepdims=True), 1)
    depth: Array = np.where(confident, 1 - h, np.float32(0)).sum(axis=(2, 3), keepdims=True)  # 1 - w
    depth /= count.astype(np.float32)
    numerator: Array = (depth * (1 - h)).sum(axis=1, keepdims=True)
    numerator += np.float32(rho) * predicted
    numerator /= (depth * depth).sum(axis=1, keepdims=True) + np.float32(rho)
    return numerator.clip(0, 1)
