"""Photos from files or bytes: refused by their header where they are too large or of an unsupported kind, and whole or
not at all otherwise.

Pixels stay in the colours of the file, but an EXIF orientation is applied to them, once.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, FileIO
from typing import Any, BinaryIO

import numpy as np

from runtime.errors import PhotoError
from runtime.photo.adobe_rgb import adobe_rgb, says_adobe_rgb
from runtime.photo.colour import judge
from runtime.photo.formats import Format, sniff
from runtime.photo.image import Photo
from runtime.photo.libvips import load_pyvips, reason
from runtime.photo.metadata import EXIF, ICC, Metadata, read_metadata
from runtime.photo.tiff_exif import read_exif

FilePath = str | os.PathLike[str]

MAX_PIXELS = 200_000_000
"""Photos with more pixels than this are refused before they are decoded."""


def read_photo(source: FilePath | bytes, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Photo:
    """Decode a photo from a file, or from its bytes.

    `name` is what messages call it: the path, unless given. Raises PhotoError for anything that is not a whole,
    supported image of acceptable size; warns of a colour profile that cannot be used.
    """
    if isinstance(source, bytes):
        return _decode(BytesIO(source), name or "the image", max_pixels)
    with opened(source, name) as file:
        return _decode(file if file.seekable() else BytesIO(file.readall()), name or os.fspath(source), max_pixels)


@contextmanager
def opened(path: FilePath, name: str | None = None) -> Iterator[FileIO]:
    """A file to read. Whatever goes wrong, until it is closed, is a PhotoError about `name` or else the path."""
    name = name or os.fspath(path)
    try:
        with open(path, "rb", buffering=0) as file:
            yield file
    except FileNotFoundError:
        raise PhotoError(f"{name} does not exist") from None
    except IsADirectoryError:
        raise PhotoError(f"{name} is a folder, expected a photo") from None
    except OSError as error:
        raise PhotoError(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the path
        raise PhotoError(f"cannot read {name!r}: {error}") from None


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Photo:
    form = sniff(file.read(16), name)
    exif = read_exif(file) if form == "tiff" else None  # before libvips, which shares the position in the file
    pyvips = load_pyvips()
    try:
        image = _open(file, form)
        _check_header(name, image, max_pixels)
        metadata = read_metadata(image)
        if exif:
            metadata[EXIF] = pyvips.GValue.blob_type, exif
        if ICC not in metadata and says_adobe_rgb(image):
            metadata[ICC] = pyvips.GValue.blob_type, adobe_rgb()
        resolution = _plausible(image.xres), _plausible(image.yres)
        if image.get_typeof("orientation") and image.get("orientation") != 1:
            image = image.copy_memory().autorot()  # rows are decoded in order, and turning takes them in another
        array = image.numpy()
    except (pyvips.Error, UnicodeDecodeError) as error:  # the second is all that is left of a message with other bytes
        raise PhotoError(f"{name} is damaged or cut short: {reason(error)}") from error
    except MemoryError as error:
        raise PhotoError(f"{name} does not fit into memory: {image.width}x{image.height} pixels") from error
    array = array.reshape(image.height, image.width, image.bands)
    colours = 3 if image.bands >= 3 else 1
    pixels = array[..., :3] if colours == 3 else array[..., 0]
    alpha = np.ascontiguousarray(array[..., colours]) if image.bands > colours else None
    profile = usable_profile(metadata, colours, name)
    return Photo(np.ascontiguousarray(pixels), alpha, metadata, resolution, profile, name)


def usable_profile(metadata: Metadata, bands: int, name: str) -> bytes | None:
    """What `Photo.profile` should be. A profile that cannot be used is dropped from `metadata`, with a warning."""
    if ICC not in metadata:
        return None
    profile: bytes = metadata[ICC][1]
    verdict = judge(profile, bands)
    if verdict == "unusable":
        del metadata[ICC]
        warnings.warn(f"the colour profile of {name} is unusable: its colours are taken for sRGB", stacklevel=2)
    return profile if verdict == "own" else None


def _plausible(resolution: float) -> float:
    """Pixels per millimetre, 1 (the default of libvips) where that cannot be."""
    return resolution if 0 < resolution <= 1e6 else 1.0


def _open(file: BinaryIO, form: Format) -> Any:
    """A libvips image that decodes row by row, straight into where its pixels are wanted."""
    import pyvips

    if isinstance(file, BytesIO):
        source = pyvips.Source.new_from_memory(file.getbuffer())
    else:  # not the path: pyvips takes no names that are not UTF-8
        file.seek(0)
        source = pyvips.Source.new_from_descriptor(file.fileno())
    return getattr(pyvips.Image, f"{form}load_source")(source, fail_on="error", access="sequential")


def _check_header(name: str, image: Any, max_pixels: int) -> None:
    """Refuse, before decoding, what the pipeline cannot take."""
    if image.width * image.height > max_pixels:
        size = f"{image.width}x{image.height} = {image.width * image.height / 1e6:.0f} megapixels"
        raise PhotoError(f"{name} is too large: {size}, the limit is {max_pixels / 1e6:g}")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise PhotoError(f"{name} holds {pages} pages or frames: only single images are supported")
    if image.interpretation == "cmyk":
        raise PhotoError(f"{name} is a CMYK image: convert it to RGB first")
    depths = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}
    colours = image.bands - (1 if image.hasalpha() else 0)
    if image.interpretation not in depths.get(image.format, ()) or colours not in (1, 3):
        kind = f"{image.bands} bands of {image.format}, {image.interpretation}"
        raise PhotoError(f"{name} has pixels of an unsupported kind ({kind}): convert it to 8 or 16 bit grey or RGB")
