"""Colours: from a photo's own encoding, which its ICC profile describes, to sRGB, which the networks know, and back.

Meant for small images: light that was changed in sRGB is expressed in the photo's own colours, and only that change is
carried to the full-size photo, whose colours are never converted. Relative colorimetric with black point compensation
in both directions, so that a way there and back changes nothing but what sRGB cannot hold, which is clipped.
"""

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.photo.metadata import ICC
from shadowdiffusion.runtime.photo.pixels import LUMINANCE, Pixels

Array = npt.NDArray[np.float32]

_HOW = {"pcs": "xyz", "intent": "relative", "black_point_compensation": True}
"""XYZ, because Lab of libvips ends before the most colourful corners of ProPhoto RGB."""
_PROBE = np.stack(np.meshgrid(*[np.linspace(0, 1, 9, dtype=np.float32)] * 3), axis=-1).reshape(27, 27, 3)
"""Colours all over the cube: a profile that leaves these alone is sRGB, whatever its bytes."""


def to_srgb(values: Array, profile: bytes | None) -> Array:
    """float32 [h, w, 1 or 3] in [0, 1] in the colours of an ICC profile -> sRGB-encoded float32 [h, w, 3] in [0, 1].

    Without a profile, values are sRGB already, and grey is repeated.
    """
    if profile is None:
        return np.broadcast_to(values, (*values.shape[:2], 3))
    # in two steps: libvips joins both into one table of 33 entries a side for 16 bit, which is off by up to 20/255
    light = _image(values, profile).icc_import(embedded=True, **_HOW)
    return _floats(light.icc_export(output_profile="srgb", depth=16, **_HOW))


def from_srgb(colours: Array, profile: bytes | None, bands: int) -> Array:
    """sRGB-encoded float32 [h, w, 3] in [0, 1] -> float32 [h, w, bands] in [0, 1] in the colours of an ICC profile.

    bands: 1 (grey) or 3. The inverse of `to_srgb` for colours that both hold.
    """
    if profile is None:
        return colours if bands == 3 else (colours @ LUMINANCE)[..., None]
    light = _image(colours).icc_import(input_profile="srgb", **_HOW).copy()
    _attach(light, profile)
    return _floats(light.icc_export(depth=16, **_HOW))


@lru_cache(maxsize=64)
def judge(profile: bytes, bands: int) -> Literal["sRGB", "own", "unusable"]:
    """What an embedded ICC profile says of pixels with 1 (grey) or 3 bands: that they are sRGB, or colours of their own
    that can be converted both ways. Where it is unusable for that, they are best taken for sRGB.
    """
    if int.from_bytes(profile[:4], "big") != len(profile):  # cut short; what PNG does not take
        return "unusable"
    import pyvips

    try:
        there = from_srgb(_PROBE, profile, bands)  # libvips says whether a profile is sound only when it exports to it
        if there.shape[2] != bands:
            return "unusable"
        back = to_srgb(_PROBE[..., :bands], profile)
    except pyvips.Error:
        return "unusable"
    same = np.abs(back - _PROBE[..., :bands]).max() < 0.5 / 255
    return "sRGB" if same else "own"


def _image(values: Array, profile: bytes | None = None) -> Any:
    """A libvips image of 16 bits."""
    import pyvips

    height, width, bands = values.shape
    integers: Pixels = np.rint(values * np.float32(65535)).astype(np.uint16)
    image = pyvips.Image.new_from_memory(integers, width, height, bands, "ushort")
    image = image.copy(interpretation="rgb16" if bands == 3 else "grey16")
    if profile is not None:
        _attach(image, profile)
    return image


def _attach(image: Any, profile: bytes) -> None:
    import pyvips

    image.set_type(pyvips.GValue.blob_type, ICC, profile)


def _floats(image: Any) -> Array:
    values: Array = image.numpy().reshape(image.height, image.width, image.bands) / np.float32(65535)
    return values
