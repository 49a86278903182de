"""Which page of a TIFF file is the photo: files may hold reduced copies of it, before or after, and cameras' raw files
are TIFF too. (TIFF 6.0; TIFF Technical Note 1, SubIFDs; DNG 1.7; BigTIFF.)
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from shadowdiffusion.runtime.errors import PhotoError

_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG = 254, 255, 262, 330, 50706
_RAW = (32803, 34892)
"""Colour filter array, and raw values of all colours."""
_REDUCED = 1
_MOST_PAGES, _MOST_TAGS = 4096, 4096
_SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8, 18: 8}
"""Bytes of a value, by those types that the tags here may have."""
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class _Page(NamedTuple):
    is_reduced: bool
    is_raw: bool
    below: tuple[int, ...]
    """Where the pages below this one are."""


def main_page(file: BinaryIO, name: str) -> dict[str, int]:
    """How libvips finds the photo: by "page" or "subifd"; nothing for a file that makes no sense, which libvips is to
    refuse. Raises PhotoError where the file holds several, none but a reduced one, or raw data.
    """
    try:
        reader = _Reader(file)
        pages = list(reader.chain())
        below = [list(reader.pages(page.below)) for page in pages]
    except (struct.error, OverflowError, OSError):
        return {}
    if not pages:
        return {}
    if any(page.is_raw for page in [*pages, *(inner for several in below for inner in several)]):
        raise PhotoError(f"{name} holds a camera's raw data: develop it first, and restore the TIFF or JPEG")
    main = [number for number, page in enumerate(pages) if not page.is_reduced]
    if len(main) > 1:
        raise PhotoError(f"{name} holds {len(main)} pages or frames: only single images are supported")
    if main:
        return {"page": main[0]}
    inner = [number for number, page in enumerate(below[0]) if not page.is_reduced]
    if len(inner) != 1:
        raise PhotoError(f"{name} holds nothing but a reduced preview of a photo: restore the photo itself")
    return {"subifd": inner[0]}


class _Reader:
    """Folders of tags in a TIFF or BigTIFF file. Raises struct.error where the file ends too early."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        start = file.read(16)
        self._order = "<" if start[:2] == b"II" else ">"
        self._big = start[2:4] in (b"+\0", b"\0+")
        self._first: int = struct.unpack_from(self._order + ("Q" if self._big else "I"), start, 8 if self._big else 4)[
            0
        ]

    def chain(self) -> Iterator[_Page]:
        """The pages of the file, in their order."""
        place, seen = self._first, set[int]()
        while place and place not in seen and len(seen) < _MOST_PAGES:
            seen.add(place)
            page, place = self._page(place)
            yield page

    def pages(self, places: tuple[int, ...]) -> Iterator[_Page]:
        """Those at certain places."""
        for place in places:
            yield self._page(place)[0]

    def _page(self, place: int) -> tuple[_Page, int]:
        """A page, and where the next one is."""
        count = self._number(place, 8 if self._big else 2)
        start, size = place + (8 if self._big else 2), 20 if self._big else 12
        if count > _MOST_TAGS:
            raise struct.error("too many tags")
        self._file.seek(start)
        table = self._file.read(size * count)
        tags = {tag: value for tag, value in self._tags(table, size) if tag is not None}
        following = self._number(start + size * count, 8 if self._big else 4)
        kinds = tags.get(_SUBFILE, (0,))
        is_reduced = bool(kinds and kinds[0] & _REDUCED) or tags.get(_OLD_SUBFILE, (1,))[:1] == (2,)
        is_raw = _DNG in tags or (tags.get(_PHOTOMETRIC) or (0,))[0] in _RAW
        return _Page(is_reduced, is_raw, tags.get(_SUB_IFDS, ())), following

    def _tags(self, table: bytes, size: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        room = 8 if self._big else 4
        for start in range(0, len(table) - size + 1, size):
            tag, kind = struct.unpack_from(self._order + "HH", table, start)
            if tag not in (_SUBFILE, _OLD_SUBFILE, _PHOTOMETRIC, _SUB_IFDS, _DNG) or kind not in _SIZES:
                continue
            (number,) = struct.unpack_from(self._order + ("Q" if self._big else "I"), table, start + 4)
            number = min(number, _MOST_PAGES if tag == _SUB_IFDS else 1)
            width = _SIZES[kind]
            data = table[start + size - room : start + size]
            if width * number > room:
                self._file.seek(struct.unpack(self._order + ("Q" if self._big else "I"), data)[0])
                data = self._file.read(width * number)
            yield tag, struct.unpack_from(f"{self._order}{number}{_CODES[width]}", data)

    def _number(self, place: int, width: int) -> int:
        self._file.seek(place)
        value: int = struct.unpack(self._order + _CODES[width], self._file.read(width))[0]
        return value
