"""Photos and masks on disk: PNG, JPEG, WebP and TIFF, 8 and 16 bit, grey or RGB, with or without alpha.

Pixels stay in the file's own encoding; the colour profile, EXIF, XMP and IPTC data travel along
untouched, except that an EXIF orientation is applied to the pixels once and its tag dropped. (libvips
neither reads nor writes EXIF in TIFF.)
"""

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from runtime.errors import PhotoError

Pixels = npt.NDArray[Any]
FilePath = str | os.PathLike[str]
Format = Literal["jpeg", "png", "webp", "tiff"]

MAX_PIXELS = 200_000_000
"""Photos with more pixels than this are refused before they are decoded."""

SUFFIXES: dict[str, Format] = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip
_SAVE_OPTIONS: dict[Format, dict[str, Any]] = {
    "jpeg": {"Q": 95, "subsample_mode": "off", "optimize_coding": True},
    "png": {"compression": 6},
    "webp": {"Q": 95, "alpha_q": 100},
    "tiff": {"compression": "deflate", "predictor": "horizontal"},
}
_SIDE_LIMIT: dict[Format, int] = {"jpeg": 65535, "webp": 16383}
_THUMBNAIL = "jpeg-thumbnail-data"
_KEPT = (
    _THUMBNAIL,
    "exif-",
    "xmp-data",
    "iptc-data",
    "icc-profile-data",
    "photoshop-data",
    "resolution-unit",
    "png-comment",
)
WHOLE = {"uint8": 255, "uint16": 65535}
"""The integer that stands for 1.0, by pixel type."""
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709


@dataclass(frozen=True)
class Photo:
    """A decoded photo, upright."""

    pixels: Pixels
    """uint8 or uint16, [H, W] (grey) or [H, W, 3]."""
    alpha: Pixels | None = None
    """[H, W] of the same type, carried over untouched."""
    metadata: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """libvips fields by name: (type, value)."""
    resolution: tuple[float, float] = (1.0, 1.0)
    """Pixels per millimetre, horizontally and vertically."""


def read_photo(path: FilePath, max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a photo. Raises PhotoError for anything that is not a whole, supported image of acceptable
    size.
    """
    path = Path(path)
    load = _sniff(path)
    import pyvips

    try:
        # revalidate: libvips would otherwise hand back its cached copy of a file that has changed since
        image = getattr(pyvips.Image, f"{load}load")(str(path), fail_on="error", revalidate=True)
        _check_header(path, image, max_pixels)
        image = image.autorot()
        array = image.numpy()
        kept = [name for name in image.get_fields() if name.startswith(_KEPT)]
        metadata = {name: (image.get_typeof(name), image.get(name)) for name in kept}
        resolution = (image.xres, image.yres)
    except pyvips.Error as error:
        raise PhotoError(f"{path} is damaged or cut short: {_detail(error)}") from error
    except MemoryError as error:
        raise PhotoError(f"{path} does not fit into memory: {image.width}x{image.height} pixels") from error
    array = array.reshape(image.height, image.width, image.bands)
    colours = 3 if image.bands >= 3 else 1
    pixels = array[..., :3] if colours == 3 else array[..., 0]
    alpha = np.ascontiguousarray(array[..., colours]) if image.bands > colours else None
    return Photo(np.ascontiguousarray(pixels), alpha, metadata, resolution)


def as_mask(mask: Pixels, height: int, width: int, name: str = "mask") -> npt.NDArray[np.float32]:
    """A mask array as float32 [height, width] in [0, 1]; colour is turned into luminance.

    Takes bool, uint8, uint16, or float in [0, 1], shaped [H, W], [H, W, 1] or [H, W, 3]. Raises
    PhotoError for another size than the photo's or a mask without any shadow; `name` names it in the
    message.
    """
    check_pixels(mask, name)
    plane = unit_floats(mask)
    if plane.ndim == 3:
        plane = plane @ _LUMINANCE if plane.shape[2] == 3 else plane[..., 0]
    if plane.shape != (height, width):
        actual = f"{plane.shape[1]}x{plane.shape[0]}"
        raise PhotoError(f"{name} is {actual} pixels, the photo {width}x{height}: they must be the same size")
    if not plane.any():
        raise PhotoError(f"{name} is all black: there is nothing to restore (white marks shadow)")
    return plane


def check_pixels(array: Pixels, name: str) -> None:
    """Raise PhotoError unless `array` is bool, uint8, uint16 or float in [0, 1], shaped [H, W] or [H, W,
    1 or 3].
    """
    shape, kind = array.shape, array.dtype.name
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3)):
        raise PhotoError(f"{name} has shape {shape}, expected [height, width] or [height, width, 3]")
    if kind not in ("bool", "uint8", "uint16", "float16", "float32", "float64"):
        raise PhotoError(f"{name} has type {kind}, expected uint8, uint16 or float in [0, 1]")
    if array.dtype.kind == "f" and not (array.min() >= 0 and array.max() <= 1):  # also catches NaN
        raise PhotoError(f"{name} has values from {array.min():g} to {array.max():g}, expected 0 to 1")


def unit_floats(array: Pixels) -> npt.NDArray[np.float32]:
    """Checked pixels of any accepted type -> float32 in [0, 1]."""
    return np.divide(array, WHOLE.get(array.dtype.name, 1), dtype=np.float32)


def check_target(path: FilePath, overwrite: bool, inputs: Iterable[FilePath] = ()) -> Format:
    """The format a file name stands for. Raises PhotoError if nothing may or can be written there.

    Files in `inputs` are never written, even with `overwrite`.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise PhotoError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise PhotoError(f"cannot write {path}: it is a folder")
    if path.exists():
        if any(os.path.exists(other) and path.samefile(other) for other in inputs):
            raise PhotoError(f"cannot write {path}: it is an input; choose another name")
        if not overwrite:
            raise PhotoError(f"cannot write {path}: it exists already (--overwrite replaces it)")
    return SUFFIXES[path.suffix.lower()]


def write_photo(path: FilePath, photo: Photo, overwrite: bool = False) -> None:
    """Write a photo in the format of the file name, atomically: a temporary file beside it, then renamed.

    Missing folders are made. JPEG and WebP hold 8 bits: 16-bit pixels are rounded. Raises PhotoError when
    it cannot be written.
    """
    path = Path(path)
    form = check_target(path, overwrite)
    pixels, alpha = photo.pixels, photo.alpha
    if max(pixels.shape[:2]) > _SIDE_LIMIT.get(form, 1 << 31):
        raise PhotoError(f"cannot write {path}: {form} allows {_SIDE_LIMIT[form]} pixels a side; use PNG or TIFF")
    if alpha is not None:
        if form == "jpeg":
            raise PhotoError(f"cannot write {path}: JPEG has no transparency, which the photo has; use PNG")
        pixels = np.dstack([pixels, alpha])
    if form in ("jpeg", "webp") and pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    import pyvips

    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = _as_image(np.ascontiguousarray(pixels), photo)
        getattr(image, f"{form}save")(str(temporary), **_SAVE_OPTIONS[form])
        os.replace(temporary, path)
    except (pyvips.Error, OSError) as error:
        detail = _detail(error) if isinstance(error, pyvips.Error) else error.strerror
        raise PhotoError(f"cannot write {path}: {detail}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _as_image(array: Pixels, photo: Photo) -> Any:
    import pyvips

    height, width = array.shape[:2]
    bands = 1 if array.ndim == 2 else array.shape[2]
    deep = array.dtype == np.uint16
    space = ("grey16" if deep else "b-w") if bands < 3 else ("rgb16" if deep else "srgb")
    image = pyvips.Image.new_from_memory(array, width, height, bands, "ushort" if deep else "uchar")
    image = image.copy(interpretation=space, xres=photo.resolution[0], yres=photo.resolution[1])
    for name, (kind, value) in photo.metadata.items():
        if name == _THUMBNAIL:  # the camera's shows the photo as it was
            value = image.thumbnail_image(160).jpegsave_buffer(keep="none")
        image.set_type(kind, name, value)
    # the EXIF block still says how the camera was held, but the pixels are upright
    if "exif-data" in photo.metadata:
        image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def _sniff(path: Path) -> Format:
    """The format by the first bytes, so that only four known decoders ever see a file."""
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise PhotoError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise PhotoError(f"{path} is a folder, expected a photo") from None
    except OSError as error:
        raise PhotoError(f"cannot read {path}: {error.strerror}") from error
    if not start:
        raise PhotoError(f"{path} is empty")
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    raise PhotoError(f"{path} is not a PNG, JPEG, WebP or TIFF image")


def _check_header(path: Path, image: Any, max_pixels: int) -> None:
    """Refuse, before decoding, what the pipeline cannot take."""
    if image.width * image.height > max_pixels:
        size = f"{image.width}x{image.height} = {image.width * image.height / 1e6:.0f} megapixels"
        raise PhotoError(f"{path} is too large: {size}, the limit is {max_pixels / 1e6:g}")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise PhotoError(f"{path} holds {pages} pages or frames: only single images are supported")
    if image.interpretation == "cmyk":
        raise PhotoError(f"{path} is a CMYK image: convert it to RGB first")
    depths = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}
    colours = image.bands - (1 if image.hasalpha() else 0)
    if image.interpretation not in depths.get(image.format, ()) or colours not in (1, 3):
        kind = f"{image.bands} bands of {image.format}, {image.interpretation}"
        raise PhotoError(f"{path} has pixels of an unsupported kind ({kind}): convert it to 8 or 16 bit grey or RGB")


def _detail(error: Exception) -> str:
    """The last, most specific line of a libvips message."""
    lines = [line.strip() for line in str(getattr(error, "detail", "") or error).splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
