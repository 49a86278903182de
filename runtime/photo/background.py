"""A background for photos with transparency, where a format has none."""

import re
from dataclasses import replace

import numpy as np

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.image import Photo

_NAMES = {
    "black": "000000", "silver": "c0c0c0", "gray": "808080", "grey": "808080", "white": "ffffff", "maroon": "800000",
    "red": "ff0000", "purple": "800080", "fuchsia": "ff00ff", "green": "008000", "lime": "00ff00", "olive": "808000",
    "yellow": "ffff00", "navy": "000080", "blue": "0000ff", "teal": "008080", "aqua": "00ffff",
}  # fmt: skip
"""The sixteen of CSS."""
_ROWS = 256
"""Rows that are composed at once, so that little memory is needed."""


def parse_colour(text: str) -> str:
    """A colour as `#rrggbb`, from that, `#rgb` or one of the names of CSS. Raises PhotoError."""
    name = text.strip().lower()
    digits = _NAMES.get(name, name.removeprefix("#"))
    if re.fullmatch("[0-9a-f]{3}", digits):
        digits = "".join(2 * digit for digit in digits)
    if not re.fullmatch("[0-9a-f]{6}", digits):
        raise PhotoError(f"background {text!r} is no colour: write #rrggbb, or one of {', '.join(sorted(_NAMES))}")
    return f"#{digits}"


def composed(photo: Photo, colour: str) -> Photo:
    """A photo without transparency: on a background, `#rrggbb` in sRGB, which is converted to the photo's colours."""
    if photo.alpha is None:
        return photo
    srgb = np.array([[list(bytes.fromhex(colour.removeprefix("#")))]], np.float32) / np.float32(255)
    whole = np.float32(np.iinfo(photo.pixels.dtype).max)
    below = photo.from_srgb(srgb)[0] * whole  # [1, bands]
    if photo.pixels.ndim == 2:
        below = below[:, 0]
    result = np.empty_like(photo.pixels)
    for top in range(0, len(result), _ROWS):
        rows = slice(top, top + _ROWS)
        weight = photo.alpha[rows] / whole
        if photo.pixels.ndim == 3:
            weight = weight[..., None]
        result[rows] = np.rint(below + weight * (photo.pixels[rows] - below))
    return replace(photo, pixels=result, alpha=None)
