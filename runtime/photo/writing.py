"""Photos to files or bytes. A file appears whole or not at all: it is written under a hidden temporary name beside its
target, `.NAME.<random>.tmp`, and renamed. Only a process that is killed leaves one behind, which is never read.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import PhotoError
from runtime.photo.formats import LOSSY, QUALITY, SIDE_LIMIT, Format, check_encoding, format_of
from runtime.photo.image import Photo
from runtime.photo.libvips import reason
from runtime.photo.metadata import attach
from runtime.photo.reading import FilePath

_SAVE_OPTIONS: dict[Format, dict[str, Any]] = {
    "jpeg": {"subsample_mode": "off", "optimize_coding": True},
    "png": {"compression": 6},
    "webp": {"alpha_q": 100},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
}


def check_target(path: FilePath, overwrite: bool, form: Format | None = None) -> Format:
    """The format to write `path` in: `form`, or by its name; raises PhotoError if it cannot be written."""
    path = Path(path)
    form = format_of(path, form)
    if path.is_dir():
        raise PhotoError(f"cannot write {path}: it is a folder")
    if path.exists() and not overwrite:
        raise PhotoError(f"cannot write {path}: it exists already (--overwrite replaces it)")
    return form


def write_photo(
    path: FilePath,
    photo: Photo,
    overwrite: bool = False,
    form: Format | None = None,
    quality: int | None = None,
    finished: Callable[[Path], None] | None = None,
) -> None:
    """Write a photo in the format `form`, or that of the file name, atomically. Missing folders are made.

    quality: 1 to 100, of JPEG and WebP only [95]. These hold 8 bits: 16-bit pixels are rounded. `finished` is called
    with the whole file before it takes its name. Raises PhotoError when it cannot be written; the target is then as it
    was.
    """
    path = Path(path)
    form = check_target(path, overwrite, form=form)
    import pyvips

    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # opened here, not by its name in pyvips, which takes no names that are not UTF-8; read-write for TIFF
        file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            _encode(photo, form, quality, pyvips.Target.new_to_descriptor(file), f"write {path}")
            os.fsync(file)  # some disks say only now that they are full
        finally:
            os.close(file)
        if finished is not None:
            finished(temporary)
        if not overwrite:
            check_target(path, overwrite, form=form)  # another may have been written meanwhile
        os.replace(temporary, path)
    except OSError as error:
        raise PhotoError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def encode_photo(photo: Photo, form: Format, quality: int | None = None) -> bytes:
    """The bytes of a file of `photo`; see `write_photo`."""
    import pyvips

    target = pyvips.Target.new_to_memory()
    _encode(photo, form, quality, target, f"encode the photo as {form}")
    return bytes(target.get("blob"))


def _encode(photo: Photo, form: Format, quality: int | None, target: Any, what: str) -> None:
    """Save to a libvips target. `what` could not be done says the PhotoError."""
    import pyvips

    check_encoding(form, quality)
    if max(photo.pixels.shape[:2]) > SIDE_LIMIT.get(form, 1 << 31):
        raise PhotoError(f"cannot {what}: {form} allows {SIDE_LIMIT[form]} pixels a side; use PNG or TIFF")
    if photo.alpha is not None and form == "jpeg":
        raise PhotoError(f"cannot {what}: JPEG has no transparency, which the photo has; use PNG")
    options = _SAVE_OPTIONS[form] | ({"Q": QUALITY if quality is None else quality} if form in LOSSY else {})
    try:
        getattr(_as_image(photo, form), f"{form}save_target")(target, **options)
    except pyvips.Error as error:
        raise PhotoError(f"cannot {what}: {reason(error)}") from error


def _as_image(photo: Photo, form: Format) -> Any:
    """A libvips image that is computed while it is saved, of a depth that the format holds."""

    image = _plane(photo.pixels)
    if photo.alpha is not None:
        image = image.bandjoin(_plane(photo.alpha))
    deep = image.format == "ushort"
    if deep and form in LOSSY:
        image = image.linear(1 / 257, 0.5).cast("uchar")  # cast cuts off, so this rounds
        deep = False
    space = ("grey16" if deep else "b-w") if image.bands < 3 else ("rgb16" if deep else "srgb")
    image = image.copy(interpretation=space, xres=photo.resolution[0], yres=photo.resolution[1])
    attach(image, photo.metadata, tiff=form == "tiff")
    return image


def _plane(array: Any) -> Any:
    """A libvips image on the memory of an array [H, W] or [H, W, C]."""
    import pyvips

    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    kind = {"uint8": "uchar", "uint16": "ushort"}[array.dtype.name]
    return pyvips.Image.new_from_memory(np.ascontiguousarray(array), width, height, bands, kind)
