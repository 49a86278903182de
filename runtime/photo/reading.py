"""Photos from files or bytes: refused by their header where they are too large or of an unsupported kind, and whole or
not at all otherwise.

Pixels stay in the colours of the file, but an EXIF orientation is applied to them, once.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO, FileIO
from types import MappingProxyType
from typing import Any, BinaryIO, NamedTuple, cast, get_args

import numpy as np

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo.code_points import CodePoints, of_profile
from shadowdiffusion.runtime.photo.colour import judge
from shadowdiffusion.runtime.photo.formats import TITLES, Format, ReadOnly, sniff
from shadowdiffusion.runtime.photo.heic import decode_heic
from shadowdiffusion.runtime.photo.heif_boxes import read_boxes
from shadowdiffusion.runtime.photo.image import Photo
from shadowdiffusion.runtime.photo.libvips import load_pyvips, reason
from shadowdiffusion.runtime.photo.metadata import EXIF, ICC, XMP, Metadata, read_metadata
from shadowdiffusion.runtime.photo.pixels import Pixels
from shadowdiffusion.runtime.photo.png_chunks import Chunks, read_chunks
from shadowdiffusion.runtime.photo.profiles import adobe_rgb, says_adobe_rgb
from shadowdiffusion.runtime.photo.tiff_exif import read_exif
from shadowdiffusion.runtime.photo.tiff_pages import main_page
from shadowdiffusion.runtime.photo.xmp import keep_promises

FilePath = str | os.PathLike[str]

_NO_DECODER = "has not been built in"
"""In what libheif says of codecs it lacks."""
_LARGEST_SIDE = 10_000_000
"""Of libvips, which says more of others than an error."""
MAX_PIXELS = 200_000_000
"""Photos with more pixels than this are refused before they are decoded."""


def read_photo(source: FilePath | bytes, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Photo:
    """Decode a photo from a file, or from its bytes.

    `name` is what messages call it: the path, unless given. Raises PhotoError for anything that is not a whole,
    supported image of acceptable size.
    """
    if isinstance(source, bytes):
        return _decode(BytesIO(source), name or "the image", max_pixels)
    with opened(source, name) as file:
        return _decode(file if file.seekable() else BytesIO(file.readall()), name or os.fspath(source), max_pixels)


def natural_format(source: FilePath | bytes) -> Format:
    """The format that a restored photo takes unless another is asked for: its own, or where that is only read, PNG for
    transparency or more than 8 bits, and else JPEG. JPEG too for what cannot be read, which reading it will tell.
    """
    try:
        if isinstance(source, bytes):
            return _natural(BytesIO(source))
        with opened(source) as file:
            return _natural(file) if file.seekable() else "jpeg"
    except (PhotoError, load_pyvips().Error, UnicodeDecodeError):
        return "jpeg"


def _natural(file: BinaryIO) -> Format:
    container = _inspect(file, "the photo")
    if container.form in get_args(Format):
        return cast(Format, container.form)
    image = _open(file, container, "the photo")
    return "png" if image.hasalpha() or image.format == "ushort" else "jpeg"


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


class _Container(NamedTuple):
    """What a file says that libvips does not."""

    form: Format | ReadOnly
    options: Mapping[str, int] = MappingProxyType({})
    """How libvips finds the photo in it."""
    code_points: CodePoints | None = None
    chunks: Chunks | None = None
    exif: bytes | None = None


def _decode(file: BinaryIO, name: str, max_pixels: int) -> Photo:
    container = _inspect(file, name)
    pyvips = load_pyvips()
    try:
        image = _open(file, container, name)
        _check_header(name, image, max_pixels, container)
        metadata = read_metadata(image)
        if container.exif:
            metadata[EXIF] = pyvips.GValue.blob_type, container.exif
        notes = _without_promises(metadata)
        if container.form == "heif" and image.get("n-pages") > 1:  # libvips reads the primary one
            notes.append(f"it holds {image.get('n-pages')} pictures: its main one is restored")
        resolution = _plausible(image.xres), _plausible(image.yres)
        turned = image.get_typeof("orientation") and image.get("orientation") != 1
        adobe = says_adobe_rgb(image)
        if image.interpretation == "cmyk":
            image, note = _without_cmyk(image, metadata)
            notes.append(note)
        if turned:
            image = image.copy_memory().autorot()  # rows are decoded in order, and turning takes them in another
        array = _pixels(image, file, container, name)
    except (pyvips.Error, UnicodeDecodeError) as error:  # the second is all that is left of a message with other bytes
        raise PhotoError(f"{name} is damaged or cut short: {reason(error)}") from error
    except MemoryError as error:
        raise PhotoError(f"{name} does not fit into memory: {image.width}x{image.height} pixels") from error
    array = array.reshape(*array.shape[:2], -1)
    bands = array.shape[2]
    colours = 3 if bands >= 3 else 1
    pixels = array[..., :3] if colours == 3 else array[..., 0]
    alpha = np.ascontiguousarray(array[..., colours]) if bands > colours else None
    profile, more = _profile(metadata, container, adobe, colours, name)
    return Photo(np.ascontiguousarray(pixels), alpha, metadata, resolution, profile, name, (*notes, *more))


def _pixels(image: Any, file: BinaryIO, container: _Container, name: str) -> Pixels:
    """All pixels of a libvips image; those of HEIC by other means, where libvips cannot decode it."""
    import pyvips

    try:
        array: Pixels = image.numpy()
    except pyvips.Error as error:
        if container.form != "heif" or _NO_DECODER not in reason(error):
            raise
        array = decode_heic(file, name)
        if array.shape[:2] != (image.height, image.width):
            raise PhotoError(f"{name} is damaged: it has another size than its header says") from error
    bits = image.get("bits-per-sample") if container.form == "heif" and array.dtype == np.uint16 else 16
    return array | (array >> bits) if bits < 16 else array  # both leave the lower bits empty: white is not quite white


def _inspect(file: BinaryIO, name: str) -> _Container:
    """Before libvips, which shares the position in the file. Raises PhotoError for what is no single photo."""
    form = sniff(file.read(16), name)
    if form == "tiff":
        return _Container(form, main_page(file, name), exif=read_exif(file))
    if form == "png":
        chunks = read_chunks(file)
        if chunks.frames > 1:
            raise PhotoError(f"{name} is an animation of {chunks.frames} frames: only single images are supported")
        if chunks.code_points:
            chunks.code_points.check(name)
        return _Container(form, code_points=chunks.code_points, chunks=chunks)
    if form == "heif":
        boxes = read_boxes(file)
        if max(boxes.size) > _LARGEST_SIDE:
            raise PhotoError(f"{name} is damaged: its header says {boxes.size[0]}x{boxes.size[1]} pixels")
        if boxes.moves:
            raise PhotoError(f"{name} is an animation: only single images are supported")
        if boxes.code_points:
            boxes.code_points.check(name)
        return _Container(form, code_points=boxes.code_points)
    return _Container(form)


def _without_promises(metadata: Metadata) -> list[str]:
    """What is to be noted after taking out of XMP what it cannot hold."""
    if XMP not in metadata:
        return []
    kind, xmp = metadata[XMP]
    kept, changed = keep_promises(xmp)
    if kept:
        metadata[XMP] = kind, kept
    else:
        del metadata[XMP]
    return ["its gain map, video or other pictures are left out, and what XMP says of them"] if changed else []


def _without_cmyk(image: Any, metadata: Metadata) -> tuple[Any, str]:
    """A CMYK image as sRGB, and what is to be noted of it."""
    profile = metadata.pop(ICC, (0, b""))[1]
    is_usable = profile[16:20] == b"CMYK" and int.from_bytes(profile[:4], "big") == len(profile)
    source = {"embedded": True} if is_usable else {"input_profile": "cmyk"}
    depth = 16 if image.format == "ushort" else 8
    converted = image.icc_transform("srgb", intent="relative", black_point_compensation=True, depth=depth, **source)
    by = "its profile" if is_usable else "the usual profile of libvips, as it has none that can be used"
    return converted, f"it is converted from CMYK to sRGB by {by}"


def _profile(
    metadata: Metadata, container: _Container, adobe: bool, bands: int, name: str
) -> tuple[bytes | None, list[str]]:
    """What `Photo.profile` and `notes` should be: the profile that the colours have, which is put into `metadata`. One
    that cannot be used is dropped there.
    """
    import pyvips

    notes = list[str]()
    points, chunks = container.code_points, container.chunks
    found: bytes | None = None
    if points and not points.is_unspecified and (container.form == "png" or ICC not in metadata):
        if points.is_srgb:
            metadata.pop(ICC, None)
            return None, notes
        found = points.profile(bands)
        if found is None:
            numbers = f"primaries {points.primaries}, transfer {points.transfer}"
            notes.append(f"the numbers of its colours are unknown ({numbers}) and left out")
    if found is None and ICC not in metadata:
        if chunks is not None and not chunks.has_profile:
            found = chunks.profile(bands)
        if found is None and adobe:
            found = adobe_rgb()
    if found is not None:
        metadata[ICC] = pyvips.GValue.blob_type, found
    profile, more = usable_profile(metadata, bands, name)
    return profile, [*notes, *more]


def usable_profile(metadata: Metadata, bands: int, name: str) -> tuple[bytes | None, list[str]]:
    """What `Photo.profile` and its notes should be. A profile that cannot be used is dropped from `metadata`. Raises
    PhotoError for one of HDR.
    """
    if ICC not in metadata:
        return None, []
    profile: bytes = metadata[ICC][1]
    if points := of_profile(profile):
        points.check(name)
    verdict = judge(profile, bands)
    if verdict == "unusable":
        del metadata[ICC]
        return None, ["its colour profile is unusable: its colours are taken for sRGB"]
    return profile if verdict == "own" else None, []


def _plausible(resolution: float) -> float:
    """Pixels per millimetre, 1 (the default of libvips) where that cannot be."""
    return resolution if 0 < resolution <= 1e6 else 1.0


def _open(file: BinaryIO, container: _Container, name: str) -> Any:
    """A libvips image that decodes row by row, straight into where its pixels are wanted."""
    import pyvips

    if not can_read(container.form):
        title = TITLES[container.form]
        raise PhotoError(f"{name} is {title}, which the installed libvips cannot read: convert it to PNG or JPEG")
    if isinstance(file, BytesIO):
        source = pyvips.Source.new_from_memory(file.getbuffer())
    else:  # not the path: pyvips takes no names that are not UTF-8
        file.seek(0)
        source = pyvips.Source.new_from_descriptor(file.fileno())
    return getattr(pyvips.Image, _loader(container.form))(
        source, fail_on="error", access="sequential", **container.options
    )


def can_read(form: Format | ReadOnly) -> bool:
    """Whether the installed libvips has a loader for a format."""
    return bool(load_pyvips().type_find("VipsOperation", _loader(form)))


def _loader(form: Format | ReadOnly) -> str:
    return f"{'magick' if form == 'bmp' else form}load_source"


def _check_header(name: str, image: Any, max_pixels: int, container: _Container) -> None:
    """Refuse, before decoding, what the pipeline cannot take."""
    if image.width * image.height > max_pixels:
        size = f"{image.width}x{image.height} = {image.width * image.height / 1e6:.0f} megapixels"
        raise PhotoError(f"{name} is too large: {size}, the limit is {max_pixels / 1e6:g}")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 and not container.options and container.form != "heif":
        raise PhotoError(f"{name} holds {pages} pages or frames: only single images are supported")
    depths = {"uchar": ("b-w", "srgb", "cmyk"), "ushort": ("grey16", "rgb16", "cmyk")}
    colours = image.bands - (1 if image.hasalpha() else 0)
    expected = (4,) if image.interpretation == "cmyk" else (1, 3)
    if image.interpretation not in depths.get(image.format, ()) or colours not in expected:
        kind = f"{image.bands} bands of {image.format}, {image.interpretation}"
        raise PhotoError(f"{name} has pixels of an unsupported kind ({kind}): convert it to 8 or 16 bit grey or RGB")
