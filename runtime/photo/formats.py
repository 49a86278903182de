"""The four kinds of image files: how they are told apart, and what each can hold."""

from pathlib import PurePath
from typing import Literal

from runtime.errors import PhotoError

Format = Literal["jpeg", "png", "webp", "tiff"]

SUFFIXES: dict[str, Format] = {
    ".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip
"""The format of each file name extension; the first of a format is the usual one."""

SIDE_LIMIT: dict[Format, int] = {"jpeg": 65535, "webp": 16383}
LOSSY: tuple[Format, ...] = ("jpeg", "webp")
"""These have a quality, and hold 8 bits only."""
QUALITY = 95
"""Of lossy files, unless another is asked for."""


def sniff(start: bytes, name: str) -> Format:
    """The format by a file's first 16 bytes, so that only four known decoders ever see a file. `name` is for the
    PhotoError when it is none of them.
    """
    if not start:
        raise PhotoError(f"{name} is empty")
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "webp"
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    raise PhotoError(f"{name} is not a PNG, JPEG, WebP or TIFF image")


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


def check_encoding(form: Format, quality: int | None) -> None:
    """Raise PhotoError unless a file of format `form` can be written at `quality`: 1 to 100, None for the usual."""
    if quality is None:
        return
    if form not in LOSSY:
        raise PhotoError(f"{form} is lossless and has no quality: leave out quality {quality}, or choose jpeg or webp")
    if not 1 <= quality <= 100:
        raise PhotoError(f"quality {quality} is out of range: choose 1 to 100")
