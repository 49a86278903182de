"""Adobe RGB (1998), for cameras that name it in EXIF and embed no profile: interoperability index R03 of DCF 2.0."""

import struct
from typing import Any

_INDEX = "exif-ifd4-InteroperabilityIndex"
_PRIMARIES = {
    "rXYZ": (0.60974, 0.31111, 0.01947),
    "gXYZ": (0.20528, 0.62567, 0.06087),
    "bXYZ": (0.14919, 0.06322, 0.74457),
}
"""Adapted to D50, as ICC profiles have them."""
_D50 = (0.9642, 1.0, 0.8249)
_GAMMA = 563  # 256ths
_NAME = b"Compatible with Adobe RGB (1998)\0"


def says_adobe_rgb(image: Any) -> bool:
    """Whether the EXIF of a libvips image says that its colours are Adobe RGB."""
    return bool(image.get_typeof(_INDEX)) and image.get(_INDEX).startswith("R03")


def adobe_rgb() -> bytes:
    """An ICC profile (ICC.1:2001-04, version 2.4) of the smallest kind: primaries and the power of the curve."""
    tags = {
        "desc": b"desc\0\0\0\0" + struct.pack(">I", len(_NAME)) + _NAME + bytes(78),
        "cprt": b"text\0\0\0\0No copyright, use freely\0",
        "wtpt": _xyz(_D50),
        **{name: _xyz(primary) for name, primary in _PRIMARIES.items()},
        **{f"{name}TRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, _GAMMA) for name in "rgb"},
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name.encode(), start + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(data), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s28x", 2000, 1, 1, 0, 0, 0, b"acsp") + _fixed(_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
