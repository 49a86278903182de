"""Colours that a file names by numbers: PNG's cICP, gAMA and cHRM, nclx of AVIF, cicp of ICC profiles."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo
from tests.runtime.photo.profiles import ADOBE_RGB, PROPHOTO, Space, builtin, decode, encode, icc
from tests.runtime.tiny import picture

VALUES = np.random.default_rng(3).random((20, 30, 3)).astype(np.float32)
P3 = Space(2.2, np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]))
"""Display P3's primaries, adapted to D50 (ICC's own Display P3 profile)."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, pixels: Any = None) -> bytes:
    """With chunks put in behind the header."""
    file = BytesIO()
    Image.fromarray(picture(8, 9) if pixels is None else pixels).save(file, "png")
    data = file.getvalue()
    return data[:33] + b"".join(chunks) + data[33:]


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, matrix, full]))


def gama(gamma: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(*values: float) -> bytes:
    """White, red, green, blue."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


ADOBE_CHRM = chrm(0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
SRGB_CHRM = chrm(0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"profile\0\0" + zlib.compress(profile))


def p3(values: Any) -> Any:
    """Display P3, which has the curve of sRGB, to sRGB."""
    return P3.to_srgb(decode(values.astype(float)) ** (1 / 2.2))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([cicp(12, 13)], p3, id="cICP of Display P3"),
        pytest.param([cicp(1, 8)], lambda v: encode(v.astype(float)), id="cICP linear"),
        pytest.param([cicp(1, 4)], lambda v: encode(v.astype(float) ** 2.2), id="cICP gamma 2.2"),
        pytest.param([gama(1 / 1.8)], lambda v: encode(v.astype(float) ** 1.8), id="gAMA"),
        pytest.param([gama(1.0)], lambda v: encode(v.astype(float)), id="gAMA linear"),
        pytest.param([gama(256 / 563), ADOBE_CHRM], ADOBE_RGB.to_srgb, id="gAMA and cHRM"),
        pytest.param([cicp(12, 13), iccp(PROPHOTO.icc()), gama(1.0)], p3, id="cICP before iCCP and gAMA"),
        pytest.param([iccp(PROPHOTO.icc()), gama(1.0)], PROPHOTO.to_srgb, id="iCCP before gAMA"),
        pytest.param([cicp(2, 2), iccp(PROPHOTO.icc())], PROPHOTO.to_srgb, id="cICP says nothing"),
        pytest.param([cicp(99, 13), iccp(PROPHOTO.icc())], PROPHOTO.to_srgb, id="cICP is unknown"),
    ],
)
def test_colours_of_png_are_those_that_its_chunks_say(chunks: list[bytes], expected: Any) -> None:
    photo = read_photo(png(*chunks))
    assert photo.profile is not None
    assert np.abs(photo.to_srgb(VALUES) - expected(VALUES)).max() < 2.5 / 255
    assert np.array_equal(photo.pixels, picture(8, 9))
    for form in ("png", "jpeg", "webp", "tiff"):  # the result says the same
        assert read_photo(encode_photo(photo, form)).profile == photo.profile


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([cicp(1, 13)], id="cICP"),
        pytest.param([cicp(1, 13), iccp(PROPHOTO.icc())], id="cICP before iCCP"),
        pytest.param([chunk(b"sRGB", b"\0"), gama(1.0)], id="sRGB before gAMA"),
        pytest.param([gama(0.45455)], id="gAMA as writers of sRGB put it"),
        pytest.param([gama(0.45455), SRGB_CHRM], id="gAMA and cHRM of sRGB"),
        pytest.param([gama(0), chunk(b"cHRM", bytes(32))], id="nothing sensible"),
        pytest.param([chunk(b"gAMA", b"\0")], id="cut short"),
    ],
)
def test_srgb_stays_srgb(chunks: list[bytes]) -> None:
    photo = read_photo(png(*chunks))
    assert photo.profile is None
    assert not encode_photo(photo, "png").count(b"iCCP")


def test_grey_and_palettes_have_colours_too() -> None:
    grey = read_photo(png(gama(1 / 1.8), pixels=picture(8, 9, channels=1)))
    assert np.abs(grey.to_srgb(VALUES[..., :1])[..., 0] - encode(VALUES[..., 0].astype(float) ** 1.8)).max() < 2 / 255
    file = BytesIO()
    Image.fromarray(picture(8, 9)).quantize(16).save(file, "png")
    data = file.getvalue()
    palette = read_photo(data[:33] + cicp(12, 13) + data[33:])
    assert np.abs(palette.to_srgb(VALUES) - p3(VALUES)).max() < 2.5 / 255


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [([cicp(9, 16)], "HDR (PQ)"), ([cicp(9, 18)], "HDR (HLG)"), ([cicp(1, 13, full=0)], "narrow range")],
)
def test_png_that_is_no_photo_of_today_is_refused(chunks: list[bytes], reason: str) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(png(*chunks), name="a.png")
    assert str(caught.value).startswith("a.png ")
    assert reason in str(caught.value)


def test_unknown_numbers_are_noted() -> None:
    assert read_photo(png(cicp(99, 13))).notes == (
        "the numbers of its colours are unknown (primaries 99, transfer 13) and left out",
    )


def avif(primaries: int, transfer: int, **options: Any) -> bytes:
    """As libavif writes it, with the numbers of its colours replaced."""
    file = BytesIO()
    Image.fromarray(picture(16, 24)).save(file, "avif", quality=100, subsampling="4:4:4", **options)
    data = bytearray(file.getvalue())
    place = data.index(b"nclx")
    data[place + 4 : place + 8] = struct.pack(">HH", primaries, transfer)
    return bytes(data)


def test_avif_says_its_colours() -> None:
    assert read_photo(avif(1, 13)).profile is None
    assert read_photo(avif(2, 2)).profile is None
    wide = read_photo(avif(12, 13))
    assert np.abs(wide.to_srgb(VALUES) - p3(VALUES)).max() < 2.5 / 255
    assert np.abs(wide.pixels.astype(int) - picture(16, 24)).mean() < 4
    with_profile = BytesIO()
    Image.fromarray(picture(16, 24)).save(with_profile, "avif", icc_profile=PROPHOTO.icc())
    assert read_photo(with_profile.getvalue()).profile == PROPHOTO.icc()
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        with pytest.raises(PhotoError, match=rf"HDR \({name}\)"):
            read_photo(avif(9, transfer))


def test_a_profile_for_hdr_is_refused() -> None:
    tags = {f"{band}XYZ": b"XYZ \0\0\0\0" + struct.pack(">3i", 30000, 20000, 10000) for band in "rgb"}
    profile = icc(b"RGB ", tags | {"cicp": b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])})
    photo = Photo(
        picture(8, 9),
        metadata={"icc-profile-data": read_photo(png(iccp(ADOBE_RGB.icc()))).metadata["icc-profile-data"]},
    )
    data = encode_photo(photo, "tiff").replace(ADOBE_RGB.icc(), profile.ljust(len(ADOBE_RGB.icc()), b"\0"))
    assert len(profile) <= len(ADOBE_RGB.icc())
    with pytest.raises(PhotoError, match=r"HDR \(PQ\)"):
        read_photo(data)
    assert builtin("p3").count(b"cicp") == 0
