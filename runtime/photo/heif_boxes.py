"""What HEIF and AVIF files say in boxes that libvips passes over: colours without a profile, and whether they move.

ISO/IEC 14496-12 (boxes), 23008-12 (HEIF: the primary item and its properties).
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO, NamedTuple

from shadowdiffusion.runtime.photo.code_points import CodePoints

_LARGEST = 1 << 24
"""Bytes of the box that describes the items; more is no photo."""
_SIZE = re.compile(rb"ispe....(.{8})", re.DOTALL)
"""The property of width and height; libheif finds it in damaged boxes too."""


class Boxes(NamedTuple):
    """What was found."""

    moves: bool = False
    """Whether there is a sequence of images beside the still one."""
    code_points: CodePoints | None = None
    size: tuple[int, int] = (0, 0)
    """The largest width and height of any image or tile, before it is turned; zeros if there are none to be found."""
    meta: slice = slice(0)
    """The bytes of the file that describe its items."""


def read_boxes(file: BinaryIO) -> Boxes:
    """The boxes of a HEIF or AVIF file, as far as they are whole."""
    moves, position = False, 0
    points: CodePoints | None = None
    sizes = [(0, 0)]
    meta = slice(0)
    while True:
        file.seek(position)
        header = file.read(16)
        if len(header) < 8:
            break
        size, kind = struct.unpack(">I4s", header[:8])
        start = 8
        if size == 1 and len(header) == 16:
            size, start = int.from_bytes(header[8:], "big"), 16
        if kind == b"moov":
            moves = True
        elif kind == b"meta" and start < size <= _LARGEST:
            meta = slice(position + start, position + size)
            file.seek(meta.start)
            data = file.read(size - start)
            sizes += [struct.unpack(">II", found[1]) for found in _SIZE.finditer(data)]
            with suppress(struct.error, IndexError):
                points = _code_points(data[4:])
        if size < start:  # 0: to the end of the file
            break
        position += size
    return Boxes(moves, points, (max(width for width, _ in sizes), max(height for _, height in sizes)), meta)


def _code_points(meta: bytes) -> CodePoints | None:
    """Of the primary item. Raises struct.error or IndexError where a box is cut short."""
    boxes = dict(_boxes(meta))
    if not {b"pitm", b"iprp"} <= boxes.keys():
        return None
    pitm = boxes[b"pitm"]
    (primary,) = struct.unpack_from(">I" if pitm[0] else ">H", pitm, 4)
    inner = dict(_boxes(boxes[b"iprp"]))
    properties = list(_boxes(inner.get(b"ipco", b"")))
    for number in _associated(inner.get(b"ipma", b""), primary):
        kind, data = properties[number - 1] if 0 < number <= len(properties) else (b"", b"")
        if kind == b"colr" and data[:4] == b"nclx":
            primaries, transfer = struct.unpack_from(">HH", data, 4)
            return CodePoints(primaries, transfer)  # values of the narrow range are widened when they are decoded
    return None


def _associated(ipma: bytes, item: int) -> list[int]:
    """The numbers, from 1, of the properties of an item."""
    if not ipma:
        return []
    wide_items, wide_numbers = ipma[0] > 0, ipma[3] & 1
    (count,) = struct.unpack_from(">I", ipma, 4)
    position = 8
    for _ in range(count):
        (this,) = struct.unpack_from(">I" if wide_items else ">H", ipma, position)
        position += 4 if wide_items else 2
        many = ipma[position]
        position += 1
        numbers = struct.unpack_from(f">{many}{'H' if wide_numbers else 'B'}", ipma, position)
        position += many * (2 if wide_numbers else 1)
        if this == item:
            return [number & (0x7FFF if wide_numbers else 0x7F) for number in numbers]
    return []


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, position)
        if size < 8:
            break
        yield kind, data[position + 8 : position + size]
        position += size
