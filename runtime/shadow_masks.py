"""Shadow masks: what an image says about where the shadow is, and whether that agrees with the photo.

White marks the shadow. Masks come from many programs: as grey, as two values of any size (0 and 1), as one colour on
black (palettes of label tools), or as the transparency of a layer painted in one colour. What is none of these is
refused: a mask is never averaged or ignored silently.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.gain.illumination import to_linear
from shadowdiffusion.runtime.photo import WHOLE, Photo, unit_floats
from shadowdiffusion.runtime.photo.pixels import LUMINANCE, Pixels

Array = npt.NDArray[np.float32]

TINT = 16 / 255
"""Difference between the channels of a grey mask: JPEG leaves some, a colour is more."""
HOW = "mark the shadow in white on black"
BAND = 0.02
"""Of the long side: how far on both sides of a mask's border its light is compared."""
BRIGHTER = 0.25
"""Median log ratio of light inside to outside the border from which a mask is doubted. On nine photographed shadows it
is -1.05 to -0.55 for their masks, and 0.55 to 1.05 for the inverses."""
DARK = 1e-3
"""Light added to both sides, so that black next to black is no difference."""
LARGEST = 512
"""Pixels of the long side that are enough to compare."""


def mask_plane(mask: Photo, name: str) -> Array:
    """Read the shadow from a mask image.

    Args:
        mask: The decoded image, of any kind that the module describes.
        name: Of the mask, for messages.

    Returns:
        The shadow, float32 [H, W] in [0, 1] at the mask's own size.

    Raises:
        PhotoError: The mask marks nothing, or cannot be understood.
    """
    plane = _plane(mask, name)
    low, high = plane.min(), plane.max()
    if not high:
        raise PhotoError(f"{name} is all black: there is nothing to restore (white marks shadow)")
    if bool(((plane == low) | (plane == high)).all()):  # a drawing, whatever its two values are
        drawn: Array = (plane == high).astype(np.float32)
        return drawn
    whole = WHOLE.get(plane.dtype.name, 1)
    if high < whole / 2:
        values = f"values from {low:g} to {high:g} of {whole}"
        raise PhotoError(f"{name} has {values}, like an image of labels or a faint drawing: {HOW}")
    return unit_floats(plane)


def fits(mask: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Compare proportions.

    Args:
        mask: Height and width of the mask, in pixels.
        photo: Height and width of the photo, in pixels.

    Returns:
        Whether one scale explains both, to within a pixel a side of the smaller one.
    """
    return abs(mask[1] * photo[0] - mask[0] * photo[1]) < max(sum(mask), sum(photo))


def doubts(mask: Array, photo: Array) -> str:
    """Say why a mask is probably a mistake.

    Light inside and outside is averaged over a window around each pixel of the border. A shadow is the darker side, so
    the median of the log ratio is far below 0 for a mask and as far above for its inverse.

    Args:
        mask: float32 [h, w] in [0, 1], 1 = shadow.
        photo: sRGB-encoded float32 [h, w, 3] in [0, 1], of the same size.

    Returns:
        The reason, as a phrase about the mask; "" for a mask without doubt.
    """
    step = -(-max(mask.shape) // LARGEST)
    mask, photo = mask[::step, ::step], photo[::step, ::step]
    inside = mask >= 0.5
    if inside.all():
        return "marks the whole photo as shadow: no lit part is left to match (white marks shadow)"
    radius = max(1, round(BAND * max(mask.shape)))
    light = to_linear(photo) @ LUMINANCE + DARK
    share = _windows(inside, radius)
    border = (share > 0.1) & (share < 0.9)
    if not border.any():
        return ""
    within, everything = _windows(light * inside, radius), _windows(light, radius)
    ratio = within[border] / share[border] / ((everything - within)[border] / (1 - share[border]))
    if np.median(np.log(ratio)) < BRIGHTER:
        return ""
    return "marks what is brighter than its surroundings: it may be inverted (white marks shadow)"


def _plane(mask: Photo, name: str) -> Pixels:
    """One value per pixel, of the mask's own type."""
    pixels = mask.pixels[..., 0] if mask.pixels.ndim == 3 and mask.pixels.shape[2] == 1 else mask.pixels
    if mask.alpha is not None and not _all(mask.alpha, WHOLE.get(mask.alpha.dtype.name, 1)):
        seen = pixels[mask.alpha > 0]
        if len(seen) and _all(seen, seen[0]) and not _all(mask.alpha, mask.alpha.flat[0]):
            return mask.alpha
        raise PhotoError(f"{name} is partly transparent, and not painted in one colour: {HOW}, without transparency")
    if pixels.ndim == 2:
        return pixels
    channels = [pixels[..., channel] for channel in range(3)]  # several times as fast as along the axis
    if (spread := (np.maximum.reduce(channels) - np.minimum.reduce(channels)).max()) == 0:
        return np.ascontiguousarray(pixels[..., 0])
    if spread <= TINT * WHOLE.get(pixels.dtype.name, 1):
        return unit_floats(pixels) @ LUMINANCE
    lit: Pixels = np.asarray(pixels.any(axis=2))
    if not lit.all() and _all(pixels[lit], pixels[lit][0]):
        return lit
    raise PhotoError(f"{name} is in colour: {HOW}")


def _all(values: Pixels, value: Any) -> bool:
    return bool((values == value).all())


def _windows(plane: npt.NDArray[Any], radius: int) -> npt.NDArray[np.float64]:
    """Mean over (2 radius + 1)^2 pixels, edges repeated."""
    mean = np.pad(plane.astype(np.float64), radius, mode="edge")
    for axis in (0, 1):
        sums = np.cumsum(mean, axis)
        ahead = sums.take(range(2 * radius, sums.shape[axis]), axis)
        behind = sums.take(range(sums.shape[axis] - 2 * radius - 1), axis)
        first = [slice(None)] * 2
        first[axis] = slice(1, None)
        ahead[tuple(first)] -= behind
        mean = ahead / (2 * radius + 1)
    return mean
