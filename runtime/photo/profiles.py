"""ICC profiles for photos that say what their colours are without one: by numbers in the file, or in EXIF.

Profiles are of version 2.4 (ICC.1:2001-04), with primaries and one tone curve, or for grey the curve alone, which every
program understands.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_INDEX = "exif-ifd4-InteroperabilityIndex"
_D50 = (0.9642, 1.0, 0.8249)
"""White of the profile connection space, XYZ."""
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_SAMPLES = 1024
"""Of a curve that is no power."""

XY = tuple[float, float]
Curve = float | Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""From encoded values in [0, 1] to linear light: the exponent, or a function."""


class Primaries(NamedTuple):
    """CIE 1931 chromaticities (x, y)."""

    red: XY
    green: XY
    blue: XY
    white: XY


D65 = (0.3127, 0.3290)
BT709 = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
"""Those of sRGB too."""
ADOBE = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)


def srgb_curve(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def says_adobe_rgb(image: Any) -> bool:
    """Whether the EXIF of a libvips image says that its colours are Adobe RGB: index R03 of DCF 2.0."""
    return bool(image.get_typeof(_INDEX)) and image.get(_INDEX).startswith("R03")


def adobe_rgb() -> bytes | None:
    """The profile of Adobe RGB (1998)."""
    return build_profile("Compatible with Adobe RGB (1998)", ADOBE, 563 / 256, 3)


def build_profile(name: str, primaries: Primaries, curve: Curve, bands: int) -> bytes | None:
    """A display profile for 3 bands or 1 (grey); None where the primaries span no colours."""
    tone = _curve(curve)
    if bands == 1:
        space, colours = b"GRAY", {"kTRC": tone}
    else:
        columns = _adapted(primaries)
        if columns is None:
            return None
        space = b"RGB "
        colours = {f"{band}XYZ": _xyz(column) for band, column in zip("rgb", columns.T, strict=True)}
        colours |= {f"{band}TRC": tone for band in "rgb"}
    text = name.encode("ascii", "replace") + b"\0"
    tags = {
        "desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        "cprt": b"text\0\0\0\0No copyright, use freely\0",
        "wtpt": _xyz(_D50),
        **colours,
    }
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for tag, value in tags.items():
        if value not in places:  # the three curves are one
            places[value] = start + len(data)
            data += value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag.encode(), places[value], len(value))
    header = struct.pack(">I4xI4s4s4s", start + len(data), 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s28x", 2000, 1, 1, 0, 0, 0, b"acsp") + _fixed(_D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _adapted(primaries: Primaries) -> npt.NDArray[np.float64] | None:
    """The primaries' XYZ as columns, which add up to white, adapted from their own white to D50 (Bradford)."""
    if min(y for _, y in primaries) <= 0:
        return None
    *colours, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in primaries)
    columns = np.stack(colours, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6:
        return None
    columns = columns * np.linalg.solve(columns, white)
    cone = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adaptation = np.linalg.solve(_BRADFORD, cone[:, None] * _BRADFORD)
    result: npt.NDArray[np.float64] = adaptation @ columns
    return result if np.abs(result).max() < 4 else None


def _curve(curve: Curve) -> bytes:
    if isinstance(curve, float | int):
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(min(max(curve, 1 / 256), 255) * 256))
    samples = np.rint(curve(np.linspace(0, 1, _SAMPLES)).clip(0, 1) * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", _SAMPLES) + bytes(samples.data)


def _xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)
