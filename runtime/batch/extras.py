"""The pictures that can be written beside a result."""

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.gain.resizing import enlarged
from shadowdiffusion.runtime.photo import Photo
from shadowdiffusion.runtime.photo.metadata import ICC
from shadowdiffusion.runtime.photo.pixels import Pixels

Array = npt.NDArray[np.float32]

GAP = 8
"""White pixels between the halves of a comparison."""
WIDEST = 65535
"""Pixels that JPEG allows."""
UNCHANGED, PER_STOP = 32768, 4096
"""Illumination as 16-bit numbers: where nothing changed, and for twice the light."""


def comparison(photo: Photo, restored: Pixels) -> Photo:
    """Before and after side by side, one above the other where that would be too wide, in the photo's colours."""
    sideways = 2 * photo.pixels.shape[1] + GAP <= WIDEST
    shape = list(photo.pixels.shape)
    shape[1 if sideways else 0] = GAP
    gap = np.full(shape, np.iinfo(photo.pixels.dtype).max, photo.pixels.dtype)
    both = np.concatenate([photo.pixels, gap, restored], axis=1 if sideways else 0)
    return Photo(both, metadata={name: value for name, value in photo.metadata.items() if name == ICC})


def mask_picture(mask: Array) -> Photo:
    """Shadow mask float32 [H, W] in [0, 1] -> 8 bits, white = shadow."""
    return Photo(np.rint(mask * np.float32(255)).astype(np.uint8))


def illumination_picture(illumination: Array, height: int, width: int) -> Photo:
    """Illumination, photo / restored in linear light, float32 [h, w, 3] -> 16 bits [height, width, 3].

    32768 + 4096 log2(illumination): middle grey is unchanged, 4096 less is a shadow one stop deep; eight stops either
    way fit.
    """
    stops = np.log2(illumination)
    if stops.shape[:2] != (height, width):
        stops = enlarged(stops, height, width)
    return Photo(np.rint(np.clip(UNCHANGED + PER_STOP * stops, 0, 65535)).astype(np.uint16))
