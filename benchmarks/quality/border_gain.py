"""The classic correction every learned method has to beat: one gain per channel, matched across the shadow's border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shadowdiffusion.runtime.gain.illumination import to_encoded, to_linear


def border_gain(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], ring: int = 10, gap: int = 8, sigma: float = 3.0
) -> NDArray[np.uint8]:
    """Multiply the shadow by the ratio of the light just outside it to the light just inside, in linear light.

    Args:
        image: uint8[H, W, 3] sRGB.
        mask: bool[H, W], True = shadow.
        ring: width in pixels of the bands compared; gap: distance kept from the border, where the penumbra is.
        sigma: softness of the mask in pixels.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    if not mask.any() or mask.all():
        return image.copy()
    inside, outside = distance_transform_edt(mask), distance_transform_edt(~mask)
    light = to_linear(image.astype(np.float32) / np.float32(255))
    log_light = np.log(light + 1e-3)
    inner = (inside > gap) & (inside <= gap + ring)
    outer = (outside > gap) & (outside <= gap + ring)
    if not inner.any():  # a shadow thinner than the gap
        inner = mask
    if not outer.any():
        outer = ~mask
    gain = log_light[outer].mean(0) - log_light[inner].mean(0)
    soft = gaussian_filter(mask.astype(np.float32), sigma)[..., None]
    corrected = to_encoded(np.clip(light * np.exp(soft * gain), 0, 1).astype(np.float32))
    return np.round(corrected * 255).astype(np.uint8)
