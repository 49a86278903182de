"""EXIF in TIFF, which libvips neither reads nor writes.

An EXIF block is a small TIFF file by itself: folders of tagged values, which begin with the camera's name and lead on
to folders for the exposure and the place. In a TIFF file the same tags stand in the file's own first folder, among
those that describe the image. So they are copied from one folder to the other, with their offsets made anew.
(TIFF 6.0 section 2; EXIF 2.32 section 4.6. A maker note that counts its offsets from the start of the file loses them.)
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from typing import BinaryIO

Value = tuple[int, bytes]
"""(type, little-endian data)."""
Folder = dict[int, "Value | Folder"]

_PREFIX = b"Exif\0\0"
_HEADER = b"II*\0"
_EXPOSURE, _PLACE, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = [(_EXPOSURE, _PLACE), (_INTEROPERABILITY,), ()]
"""The folders within a folder, by its depth."""
_CAMERA = {
    0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298,
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, _EXPOSURE, _PLACE,
}  # fmt: skip
"""Make, model, software, date, artist, computer, two ratings, copyright; Windows' title, comment, author, keywords and
subject: the tags of a first folder that say nothing about how the image is stored.
"""
_STORED_SIZE = {0xA002, 0xA003}
"""Width and height, which are for JPEG alone."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of a value, by type."""
_WORDS = _SIZES | {5: 4, 10: 4}
"""Bytes that are turned around together, where the file has the other byte order; a fraction is two words."""
_MOST_VALUES, _LONGEST = 256, 1 << 16
"""Per folder, and bytes of each: more is no work of a camera."""


def read_exif(file: BinaryIO) -> bytes | None:
    """The EXIF block of a TIFF file, as JPEG would have it; None if there is none that makes sense."""
    camera = _read_camera(file)
    return _PREFIX + _HEADER + struct.pack("<I", 8) + _pack(camera, 8) if camera else None


def insert_exif(file: BinaryIO, block: bytes) -> None:
    """Put the tags of an EXIF block into a TIFF file that libvips wrote: a new first folder at its end replaces the old
    one. A block that makes no sense is left out.
    """
    camera = _read_camera(BytesIO(block.removeprefix(_PREFIX)))
    exposure = camera.get(_EXPOSURE)
    if isinstance(exposure, dict):
        camera[_EXPOSURE] = {tag: value for tag, value in exposure.items() if tag not in _STORED_SIZE}
    file.seek(0)
    header, first = struct.unpack("<4sI", file.read(8))
    if header != _HEADER or not camera:  # not as written on little-endian machines
        return
    file.seek(first)
    (count,) = struct.unpack("<H", file.read(2))
    entries = struct.iter_unpack("<H10s", file.read(12 * count))
    others = {tag: struct.pack("<H", tag) + rest for tag, rest in entries if tag not in camera}
    end = file.seek(0, 2)
    end += end % 2  # folders begin at even offsets
    file.seek(end)
    file.write(_pack(camera, end, others))
    file.seek(4)
    file.write(struct.pack("<I", end))


def _read_camera(file: BinaryIO) -> Folder:
    """What a TIFF file or EXIF block has of `_CAMERA`; nothing if it is damaged."""
    file.seek(0)
    start = file.read(8)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[:4])
    if order is None:
        return {}
    try:
        folder = _read_folder(file, struct.unpack(order + "4xI", start)[0], order)
    except struct.error:
        return {}
    return {tag: value for tag, value in folder.items() if tag in _CAMERA}


def _read_folder(file: BinaryIO, offset: int, order: str, depth: int = 0) -> Folder:
    """Raises struct.error where the file ends too early."""
    file.seek(offset)
    (count,) = struct.unpack(order + "H", file.read(2))
    table = file.read(12 * min(count, _MOST_VALUES))
    folder: Folder = {}
    for tag, kind, number, place in struct.iter_unpack(order + "HHI4s", table):
        (where,) = struct.unpack(order + "I", place)
        if tag in _INNER[depth]:
            folder[tag] = _read_folder(file, where, order, depth + 1)
            continue
        size = _SIZES.get(kind, 0) * number
        if 0 < size <= _LONGEST:
            file.seek(where)
            data = place[:size] if size <= 4 else file.read(size)
            if len(data) == size:
                folder[tag] = kind, data if order == "<" else _turned(data, _WORDS[kind])
    return folder


def _turned(data: bytes, word: int) -> bytes:
    return b"".join(data[start : start + word][::-1] for start in range(0, len(data), word))


def _pack(folder: Folder, start: int, others: Mapping[int, bytes] | None = None) -> bytes:
    """A folder and all it leads to, little-endian, for a place `start` bytes into the file; `others` are entries that
    stay as they are.
    """
    entries = dict(others or {})
    first_value = start + 2 + 12 * (len(folder) + len(entries)) + 4
    values = b""
    for tag, value in folder.items():
        here = struct.pack("<I", first_value + len(values))
        if isinstance(value, dict):
            entries[tag] = struct.pack("<HHI", tag, 4, 1) + here
            values += _pack(value, first_value + len(values))
            continue
        kind, data = value
        place = data.ljust(4, b"\0")
        if len(data) > 4:
            place = here
            values += data + bytes(len(data) % 2)
        entries[tag] = struct.pack("<HHI", tag, kind, len(data) // _SIZES[kind]) + place
    table = b"".join(entry for _, entry in sorted(entries.items()))
    return struct.pack("<H", len(entries)) + table + bytes(4) + values
