"""Colour profiles to test with, built tag by tag, and the arithmetic that they stand for."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyvips

D50 = (0.9642, 1.0, 0.8249)
SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
"""To the white of ICC profiles, D50 (ICC's own sRGB profile)."""


@dataclass(frozen=True)
class Space:
    """RGB whose channels are gamma-encoded; `to_xyz` has the primaries as columns, adapted to D50."""

    gamma: float
    to_xyz: Any

    def icc(self) -> bytes:
        tags = {f"{name}XYZ": _xyz(column) for name, column in zip("rgb", self.to_xyz.T, strict=True)}
        return icc(b"RGB ", tags | {f"{name}TRC": curve(self.gamma) for name in "rgb"})

    def to_srgb(self, values: Any) -> Any:
        return encode(values.astype(float) ** self.gamma @ (np.linalg.inv(SRGB_TO_XYZ) @ self.to_xyz).T)

    def from_srgb(self, colours: Any) -> Any:
        light = decode(colours.astype(float)) @ (np.linalg.inv(self.to_xyz) @ SRGB_TO_XYZ).T
        return light.clip(0, 1) ** (1 / self.gamma)


ADOBE_RGB = Space(
    563 / 256, np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
)
PROPHOTO = Space(1.8, np.array([[0.79767, 0.13519, 0.03134], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]]))


def decode(encoded: Any) -> Any:
    """sRGB-encoded -> linear light."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encode(light: Any) -> Any:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def grey(gamma: float) -> bytes:
    return icc(b"GRAY", {"kTRC": curve(gamma)})


def builtin(name: str) -> bytes:
    """A profile that comes with libvips: srgb, p3 or cmyk."""
    profile: bytes = pyvips.Operation.call("profile_load", name)
    return profile


def curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def icc(space: bytes, tags: dict[str, bytes]) -> bytes:
    """An ICC 2.4 display profile with these tags and the usual obligatory ones."""
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {"desc": description, "cprt": b"text\0\0\0\0none\0", "wtpt": _xyz(D50), **tags}
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s28x", 2020, 1, 1, 0, 0, 0, b"acsp") + _fixed(D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _xyz(values: Any) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(values)


def _fixed(values: Any) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)
