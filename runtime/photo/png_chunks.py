"""What PNG files say in chunks that libvips passes over: colours without a profile, and whether they are animations.

PNG specification, third edition: chunks before the pixels; of those for colour the first of cICP, iCCP, sRGB, and gAMA
with cHRM counts.
"""

import struct
from typing import BinaryIO, NamedTuple

from shadowdiffusion.runtime.photo.code_points import CodePoints
from shadowdiffusion.runtime.photo.profiles import BT709, Primaries, build_profile, srgb_curve

_START = 8
_WANTED = {b"acTL": 8, b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"iCCP": 0}
"""Bytes that are read of each."""
_SRGB_GAMMA = 45455
"""What the specification tells writers of sRGB to put into gAMA, although that curve is not quite a power."""


class Chunks(NamedTuple):
    """What was found."""

    frames: int = 1
    code_points: CodePoints | None = None
    has_profile: bool = False
    gamma: int | None = None
    """Exponent from light to values, in 100,000ths."""
    chromaticities: Primaries | None = None

    def profile(self, bands: int) -> bytes | None:
        """The ICC profile of the gamma and chromaticities; None where they say sRGB, nothing, or nothing sensible."""
        if not self.gamma and self.chromaticities is None:
            return None
        primaries = self.chromaticities or BT709
        near = all(
            abs(a - b) < 0.002 for one, two in zip(primaries, BT709, strict=True) for a, b in zip(one, two, strict=True)
        )
        if self.gamma in (None, 0, _SRGB_GAMMA) and (near or bands == 1):
            return None
        curve = 100_000 / self.gamma if self.gamma else srgb_curve
        return build_profile("PNG gamma and chromaticities", primaries, curve, bands)


def read_chunks(file: BinaryIO) -> Chunks:
    """The chunks before the pixels of a PNG file, as far as they are whole."""
    found: dict[bytes, bytes] = {}
    position = _START
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8 or header[4:] in (b"IDAT", b"IEND"):
            break
        size, kind = int.from_bytes(header[:4], "big"), header[4:]
        if kind in _WANTED and kind not in found:
            data = file.read(min(size, _WANTED[kind]))
            if len(data) == _WANTED[kind]:
                found[kind] = data
        position += 12 + size
    points = found.get(b"cICP")
    plain = b"sRGB" not in found and b"iCCP" not in found
    gamma, colours = found.get(b"gAMA"), found.get(b"cHRM")
    return Chunks(
        frames=int.from_bytes(found[b"acTL"][:4], "big") if b"acTL" in found else 1,
        code_points=CodePoints(points[0], points[1], bool(points[3])) if points else None,
        has_profile=b"iCCP" in found,
        gamma=int.from_bytes(gamma, "big") if gamma and plain else None,
        chromaticities=_chromaticities(colours) if colours and plain else None,
    )


def _chromaticities(data: bytes) -> Primaries:
    white, red, green, blue = ((x / 100_000, y / 100_000) for x, y in struct.iter_unpack(">II", data))
    return Primaries(red, green, blue, white)
