"""Photos as the bytes of a file: in the best depth that the format holds, with everything that travels along."""

from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.formats import LOSSY, QUALITY, Format, check_encoding, check_sides
from shadowdiffusion.runtime.photo.image import Photo
from shadowdiffusion.runtime.photo.libvips import reason
from shadowdiffusion.runtime.photo.metadata import EXIF, ICC, Metadata, attach
from shadowdiffusion.runtime.photo.pixels import Pixels
from shadowdiffusion.runtime.photo.tiff_exif import insert_exif

_SAVE_OPTIONS: dict[Format, dict[str, Any]] = {
    "jpeg": {"subsample_mode": "off", "optimize_coding": True},
    "png": {"compression": 6},
    "webp": {"alpha_q": 100},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
}


def encode_photo(photo: Photo, form: Format, quality: int | None = None) -> bytes:
    """The bytes of a file of format `form`.

    quality: 1 to 100, of JPEG and WebP only [95]. These hold 8 bits: 16-bit pixels are rounded. Raises PhotoError.
    """
    file = BytesIO()
    encode_into(file, photo, form, quality, f"encode the photo as {form}")
    return file.getvalue()


def encode_into(file: BinaryIO, photo: Photo, form: Format, quality: int | None, what: str) -> None:
    """Like `encode_photo`, into an empty file that can be read, too. The PhotoError says that `what` was impossible."""
    import pyvips

    check_encoding(form, quality)
    check_fit(photo, form, what)
    options = _SAVE_OPTIONS[form] | ({"Q": QUALITY if quality is None else quality} if form in LOSSY else {})
    if photo.metadata.keys() <= {ICC}:
        options |= {"keep": "icc"}  # libvips would invent EXIF
    in_memory = isinstance(file, BytesIO)
    try:
        target = pyvips.Target.new_to_memory() if in_memory else pyvips.Target.new_to_descriptor(file.fileno())
        getattr(_as_image(photo, form), f"{form}save_target")(target, **options)
    except pyvips.Error as error:
        raise PhotoError(f"cannot {what}: {reason(error)}") from error
    if in_memory:
        file.write(target.get("blob"))
    if form == "tiff" and EXIF in photo.metadata:
        insert_exif(file, photo.metadata[EXIF][1])


def check_fit(photo: Photo, form: Format, what: str) -> None:
    """Raise PhotoError, which says that `what` was impossible, unless a format can hold a photo."""
    check_sides(photo.pixels.shape, form, what)
    if form == "jpeg" and not _is_opaque(photo):
        text = "JPEG has no transparency, which the photo has; use PNG, or name a background (--background white)"
        raise PhotoError(f"cannot {what}: {text}")


def _is_opaque(photo: Photo) -> bool:
    return photo.alpha is None or int(photo.alpha.min()) == np.iinfo(photo.alpha.dtype).max


def _as_image(photo: Photo, form: Format) -> Any:
    """A libvips image that is computed while it is saved."""
    image = _view(photo.pixels)
    if photo.alpha is not None and form != "jpeg":
        image = image.bandjoin(_view(photo.alpha))
    deep = image.format == "ushort"
    if deep and form in LOSSY:
        image = image.linear(1 / 257, 0.5).cast("uchar")  # cast cuts off, so this rounds
        deep = False
    space = ("grey16" if deep else "b-w") if image.bands < 3 else ("rgb16" if deep else "srgb")
    image = image.copy(interpretation=space, xres=photo.resolution[0], yres=photo.resolution[1])
    if form == "webp" and image.bands < 3 and ICC in photo.metadata:
        return _coloured(image, photo.metadata)
    attach(image, photo.metadata, form)
    return image


def _coloured(image: Any, metadata: Metadata) -> Any:
    """A grey image as the sRGB that WebP stores it as, where its profile would not fit any more."""
    attach(image, {ICC: metadata[ICC]}, "webp")
    image = image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
    image.remove(ICC)
    attach(image, {name: value for name, value in metadata.items() if name != ICC}, "webp")
    return image


def _view(array: Pixels) -> Any:
    """A libvips image on the memory of an array uint8 or uint16 [H, W] or [H, W, C]."""
    import pyvips

    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    kind = {"uint8": "uchar", "uint16": "ushort"}[array.dtype.name]
    return pyvips.Image.new_from_memory(np.ascontiguousarray(array), width, height, bands, kind)
