"""The kinds of image files: how they are told apart, which of them are written, and what those can hold."""

from pathlib import PurePath
from typing import Literal

from shadowdiffusion.runtime.errors import PhotoError

Format = Literal["jpeg", "png", "webp", "tiff"]
"""What is read and written."""
ReadOnly = Literal["heif", "gif", "jxl", "jp2k", "bmp"]
"""What is read where the installed libvips can; heif: HEIC and AVIF."""

SUFFIXES: dict[str, Format] = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff",
    ".jpe": "jpeg", ".jfif": "jpeg",
}  # fmt: skip
"""The format of each file name extension; the first of a format is the usual one."""
READ_ONLY_SUFFIXES: dict[str, ReadOnly] = {
    ".heic": "heif", ".heif": "heif", ".hif": "heif", ".avif": "heif", ".gif": "gif", ".jxl": "jxl", ".jp2": "jp2k",
    ".bmp": "bmp",
}  # fmt: skip
TITLES: dict[Format | ReadOnly, str] = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF", "heif": "HEIC or AVIF", "gif": "GIF",
    "jxl": "JPEG XL", "jp2k": "JPEG 2000", "bmp": "BMP",
}  # fmt: skip
RAW_SUFFIXES = (
    ".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
"""Cameras' raw files, which are to be developed by other programs."""

SIDE_LIMIT: dict[Format, int] = {"jpeg": 65535, "webp": 16383}
LOSSY: tuple[Format, ...] = ("jpeg", "webp")
"""These have a quality, and hold 8 bits only."""
QUALITY = 95
"""Of lossy files, unless another is asked for."""


_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"mif3", b"miaf", b"avif"}
_SEQUENCE_BRANDS = {b"hevc", b"hevx", b"msf1", b"avis"}
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb")


def sniff(start: bytes, name: str) -> Format | ReadOnly:
    """The format by a file's first 16 bytes, so that only known decoders ever see a file. `name` is for the PhotoError
    when it is none of them.
    """
    if not start:
        raise PhotoError(f"{name} is empty")
    if start.startswith(_RAW_STARTS) or start[4:12] == b"ftypcrx " or start[:2] + start[8:10] == b"IICR":
        raise PhotoError(f"{name} holds a camera's raw data: develop it first, and restore the TIFF or JPEG")
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS | _SEQUENCE_BRANDS:
        return "heif"
    if start[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "jxl"
    if start.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "jp2k"
    if start[:2] == b"BM" and start[6:10] == bytes(4):
        return "bmp"
    raise PhotoError(f"{name} is not a PNG, JPEG, WebP, TIFF, HEIC, AVIF or GIF image")


def suffix_of(form: Format) -> str:
    """The usual file name extension of a format, with its dot."""
    return next(suffix for suffix, own in SUFFIXES.items() if own == form)


def format_of(path: PurePath, form: Format | None = None) -> Format:
    """The format to write `path` in: `form` where given, otherwise that of its name. Raises PhotoError where the name
    tells none, or another than `form`.
    """
    named = SUFFIXES.get(path.suffix.lower())
    chosen = form or named
    if chosen is None:
        raise PhotoError(f"cannot write {path}: its name must end in one of {', '.join(SUFFIXES)}")
    if named not in (None, chosen):
        raise PhotoError(f"cannot write {path} as {chosen}: its name says {named}")
    return chosen


def check_sides(shape: tuple[int, ...], form: Format, what: str) -> None:
    """Raise PhotoError, which says that `what` was impossible, for pixels [H, W, ...] too many for a format."""
    height, width = shape[:2]
    if max(height, width) > SIDE_LIMIT.get(form, 1 << 31):
        size = f"the photo is {width}x{height}, and {form} allows {SIDE_LIMIT[form]} pixels a side"
        raise PhotoError(f"cannot {what}: {size}; use PNG or TIFF")


def check_encoding(form: Format, quality: int | None) -> None:
    """Raise PhotoError unless a file of format `form` can be written at `quality`: 1 to 100, None for the usual."""
    if quality is None:
        return
    if form not in LOSSY:
        raise PhotoError(f"{form} is lossless and has no quality: leave out quality {quality}, or choose jpeg or webp")
    if not 1 <= quality <= 100:
        raise PhotoError(f"quality {quality} is out of range: choose 1 to 100")
