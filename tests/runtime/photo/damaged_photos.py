"""Damages small photos of every kind, reads them and writes what was read.

`python -m tests.runtime.photo.damaged_photos cut STEP BANDS...` cuts each that has so many bands at every STEP-th byte,
`... flip CASES SEED` changes random bytes.

A process of its own, as a decoder that crashes takes its process along. Prints how many were read and how many refused;
the case in hand is in the file named by the environment variable CASE.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyvips

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Format, encode_photo, read_photo
from shadowdiffusion.runtime.photo.formats import SIDE_LIMIT
from tests.runtime.photo.profiles import ADOBE_RGB, grey
from tests.runtime.tiny import picture, save

FORMATS: tuple[Format, ...] = ("png", "tiff", "webp", "jpeg")
TILES = {"tile": True, "tile_width": 16, "tile_height": 16}
EIGHT: list[tuple[str, dict[str, Any]]] = [
    *((".png", options) for options in ({}, {"interlace": True})),
    *((".tif", options) for options in ({}, {"compression": "deflate"}, {"compression": "packbits"}, TILES)),
    (".tif", {"compression": "lzw", "predictor": "horizontal"}),
]
SIXTEEN = list(EIGHT)
EIGHT += [
    (".png", {"palette": True}),
    (".png", {"palette": True, "bitdepth": 1}),
    (".jpg", {}),
    (".jpg", {"interlace": True}),
    (".webp", {}),
    (".webp", {"lossless": True}),
    (".tif", {"compression": "jpeg"}),
]


def corpus(*some_bands: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a photo in every format, depth, number of bands and way of storing them."""
    with TemporaryDirectory() as folder:
        for kind, ways in ((np.uint8, EIGHT), (np.uint16, SIXTEEN)):
            for suffix, options in ways:
                for bands in some_bands or (1, 2, 3, 4):
                    if bands in (2, 4) and (suffix == ".jpg" or "palette" in options):
                        continue
                    profile = (grey(1.8) if bands < 3 else ADOBE_RGB.icc()) if bands != 4 else None
                    path = save(Path(folder) / f"a{suffix}", picture(24, 17, kind, bands), tag(profile), **options)
                    yield f"{suffix} {options} {np.dtype(kind)} {bands} bands", path.read_bytes()


def tag(profile: bytes | None) -> Any:
    def change(image: Any) -> None:
        if profile:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
        image.set_type(pyvips.GValue.blob_type, "xmp-data", b"<x:xmpmeta/>")
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "ACME (ACME, ASCII, 5 components, 5 bytes)")
        image.set_type(pyvips.GValue.gint_type, "orientation", 6)

    return change


def cut(step: int, *bands: int) -> Iterator[str]:
    """Read every photo cut short: all of it is there, or it is refused."""
    for name, data in corpus(*bands):
        whole = read_photo(data)
        for length in range(0, len(data), step):
            note(f"{name} cut to {length} of {len(data)} bytes", data[:length])
            photo = attempt(data[:length])
            if photo is None:
                yield "refused"
                continue
            assert np.array_equal(photo.pixels, whole.pixels)
            assert np.array_equal(photo.alpha, whole.alpha) if whole.alpha is not None else photo.alpha is None
            yield "read"


def flip(cases: int, seed: int) -> Iterator[str]:
    """Read photos with changed bytes: they are refused, or can be written again."""
    chance = random.Random(seed)
    photos = list(corpus())
    for number in range(cases):
        name, data = chance.choice(photos)
        damaged = changed(data, chance)
        note(f"case {number} of seed {seed}: {name}", damaged)
        photo = attempt(damaged)
        if photo is None:
            yield "refused"
            continue
        assert photo.pixels.shape[2:] in ((), (3,))
        assert photo.alpha is None or photo.alpha.shape == photo.pixels.shape[:2]
        forms = [form for form in FORMATS if max(photo.pixels.shape) <= SIDE_LIMIT.get(form, 1 << 31)]
        for form in {"png", chance.choice(forms)}:
            read_photo(encode_photo(replace(photo, alpha=None) if form == "jpeg" else photo, form))
        yield "read"


def changed(data: bytes, chance: random.Random) -> bytes:
    """One to twenty bytes, half of them near the start, flipped in a bit, set to an awkward value, or left out."""
    result = bytearray(data)
    kind = chance.choice(("flip", "flip", "set", "drop"))
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        where = chance.randrange(min(len(result), chance.choice((200, len(result)))))
        if kind == "flip":
            result[where] ^= 1 << chance.randrange(8)
        elif kind == "set":
            result[where] = chance.choice((0, 1, 127, 128, 255))
        elif len(result) > 99:
            del result[where : where + chance.randrange(1, 9)]
    return bytes(result)


def attempt(data: bytes) -> Any:
    try:
        return read_photo(data)
    except PhotoError as error:
        if "\n" in str(error):
            raise
        return None


def note(what: str, data: bytes) -> None:
    if "CASE" in os.environ:
        Path(os.environ["CASE"]).write_bytes(what.encode() + b"\n" + data)


if __name__ == "__main__":
    numbers = map(int, sys.argv[2:])
    print(dict(Counter(cut(*numbers) if sys.argv[1] == "cut" else flip(*numbers))))
