"""What travels with the pixels: EXIF, XMP, IPTC, colour profile, thumbnail, comments, resolution."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, IptcImagePlugin

from shadowdiffusion.runtime.photo import Format, Photo, encode_photo, read_photo, suffix_of, write_photo
from tests.runtime.photo.profiles import ADOBE_RGB, builtin
from tests.runtime.tiny import picture, save

FORMATS: list[Format] = ["png", "jpeg", "webp", "tiff"]
ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


Entry = tuple[int, int, int, bytes]


def exif(order: str, orientation: int = 1, pixels: Any = None) -> bytes:
    """An EXIF block in byte order "<" or ">" with texts in Latin-1, fractions, a maker note, and a place; with `pixels`
    (grey) what is behind its prefix is a TIFF file.
    """

    def folder(start: int, entries: list[Entry]) -> bytes:
        table, values = b"", b""
        first = start + 2 + 12 * len(entries) + 4
        for tag, kind, count, data in sorted(entries):
            place = data if len(data) <= 4 else longs(first + len(values))
            values += data if len(data) > 4 else b""
            table += struct.pack(order + "HHI", tag, kind, count) + place.ljust(4, b"\0")
        return struct.pack(order + "H", len(entries)) + table + bytes(4) + values

    def longs(*numbers: int) -> bytes:
        return struct.pack(f"{order}{len(numbers)}I", *numbers)

    def camera(exposure_at: int, place_at: int, pixels_at: int) -> list[Entry]:
        texts = [(0x010F, ASCII, 5, b"ACME\0"), (0x013B, ASCII, 5, b"J\xf6rg\0")]
        numbers = {0x8769: exposure_at, 0x8825: place_at}
        if pixels is not None:
            height, width = pixels.shape
            numbers |= {256: width, 257: height, 258: 8, 262: 1, 273: pixels_at, 278: height, 279: pixels.size}
        turned = (0x0112, SHORT, 1, struct.pack(order + "H", orientation))
        return [*texts, turned, *((tag, LONG, 1, longs(number)) for tag, number in numbers.items())]

    note = b"ACME\0" + bytes(range(95))
    exposure = [(0x829A, RATIONAL, 1, longs(1, 125)), (0x927C, UNDEFINED, len(note), note)]
    place = [(1, ASCII, 2, b"N\0"), (2, RATIONAL, 3, longs(48, 1, 8, 1, 25, 2))]
    exposure_at = 8 + len(folder(8, camera(0, 0, 0)))
    place_at = exposure_at + len(folder(0, exposure))
    pixels_at = place_at + len(folder(0, place))
    body = folder(8, camera(exposure_at, place_at, pixels_at)) + folder(exposure_at, exposure) + folder(place_at, place)
    start = (b"II*\0" if order == "<" else b"MM\0*") + longs(8)
    return b"Exif\0\0" + start + body + (b"" if pixels is None else pixels.tobytes())


def tagged_jpeg(block: bytes, pixels: Any) -> bytes:
    data = encode_photo(Photo(pixels), "jpeg")
    return data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


def seen_by_pillow(data: bytes) -> tuple[Any, ...]:
    found = Image.open(BytesIO(data)).getexif()
    exposure, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    return found[0x010F], found[0x013B], found[0x0112], exposure[0x829A], exposure[0x927C], place[1], place[2]


EXPECTED = ("ACME", "Jörg", 1, 1 / 125, b"ACME\0" + bytes(range(95)), "N", (48, 8, 12.5))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", FORMATS)
def test_exif_survives_from_jpeg_to_any_format_and_back(form: Format, order: str) -> None:
    data = tagged_jpeg(exif(order, orientation=6), picture(16, 24))
    assert seen_by_pillow(data)[2] == 6
    once = encode_photo(read_photo(data), form)
    assert seen_by_pillow(once) == EXPECTED
    assert read_photo(once).pixels.shape == (24, 16, 3)
    twice = encode_photo(read_photo(once), "jpeg")
    assert seen_by_pillow(twice) == EXPECTED


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_a_tiff_made_elsewhere(order: str) -> None:
    pixels = picture(16, 24, channels=1)
    photo = read_photo(exif(order, pixels=pixels).removeprefix(b"Exif\0\0"))
    assert np.array_equal(photo.pixels, pixels)
    for form in FORMATS:
        assert seen_by_pillow(encode_photo(photo, form)) == EXPECTED


def test_damaged_exif_does_not_matter() -> None:
    block = exif("<")
    whole = encode_photo(read_photo(tagged_jpeg(block, picture(8, 8))), "tiff")
    for length in range(6, len(block), 5):
        photo = read_photo(tagged_jpeg(block[:length], picture(8, 8)))
        assert np.array_equal(read_photo(encode_photo(photo, "tiff")).pixels, photo.pixels)
    folder = int.from_bytes(whole[4:8], "little")
    for position in range(folder, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        try:
            encode_photo(read_photo(bytes(damaged)), "jpeg")
        except Exception as error:
            assert type(error).__name__ == "PhotoError", error  # noqa: PT017


@pytest.mark.parametrize("form", FORMATS)
def test_profile_xmp_exif_and_resolution_are_kept(tmp_path: Path, form: Format) -> None:
    def tag(image: Any) -> None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", builtin("p3"))
        image.set_type(pyvips.GValue.blob_type, "xmp-data", XMP)
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "ACME (ACME, ASCII, 5 components, 5 bytes)")
        image.set_type(pyvips.GValue.gint_type, "orientation", 6)

    suffix = suffix_of(form)
    source = save(tmp_path / f"in{suffix}", picture(10, 14), tag)
    write_photo(tmp_path / f"out{suffix}", read_photo(source))
    image = pyvips.Image.new_from_file(str(tmp_path / f"out{suffix}"))
    assert image.get("icc-profile-data") == builtin("p3")
    assert image.get("xmp-data") == XMP
    if form != "tiff":  # libvips has put none into it
        assert image.get("exif-ifd0-Make").startswith("ACME")
    original = pyvips.Image.new_from_file(str(source))
    assert (image.xres, image.yres) == pytest.approx((original.xres, original.yres), rel=0.01)


@pytest.mark.parametrize("first", ["jpeg", "tiff"])
@pytest.mark.parametrize("second", ["jpeg", "tiff"])
def test_iptc_is_kept(first: Format, second: Format) -> None:
    iptc = b"\x1c\x02\x78\x00\x05hello\x1c\x02\x50\x00\x05Joerg"
    photo = Photo(picture(8, 8), metadata={"iptc-data": (pyvips.GValue.blob_type, iptc)})
    data = encode_photo(read_photo(encode_photo(photo, first)), second)
    found: Any = IptcImagePlugin.getiptcinfo(Image.open(BytesIO(data)))
    assert found == {(2, 120): b"hello", (2, 80): b"Joerg"}


def test_what_a_format_has_no_place_for_stops_nothing() -> None:
    blob = pyvips.GValue.blob_type
    large = b"<x>" + bytes(200_000)
    fields = {"iptc-data": (blob, large), "xmp-data": (blob, large), "photoshop-data": (blob, large)}
    for form in FORMATS:
        photo = Photo(picture(8, 8), metadata=fields)
        assert read_photo(encode_photo(photo, form)).pixels.shape == (8, 8, 3)


def test_png_comments_are_kept() -> None:
    def tag(image: Any) -> None:
        image.set_type(pyvips.GValue.gstr_type, "png-comment-0-Title", "A walk\nin the shade")

    image = pyvips.Image.black(8, 8).copy()
    tag(image)
    photo = read_photo(encode_photo(read_photo(image.pngsave_buffer()), "png"))
    assert photo.metadata["png-comment-0-Title"][1] == "A walk\nin the shade"


def test_empty_fields_are_left_out() -> None:
    """Libvips crashes when it writes them."""
    segment = b"http://ns.adobe.com/xap/1.0/\0"
    data = tagged_jpeg(segment, picture(8, 8))
    for form in FORMATS:
        encode_photo(read_photo(data), form)


def test_impossible_resolutions_are_left_out() -> None:
    data = bytearray(encode_photo(Photo(picture(8, 8)), "tiff"))
    entry = data.index(struct.pack("<HHI", 282, RATIONAL, 1))
    value = int.from_bytes(data[entry + 8 : entry + 12], "little")
    data[value : value + 8] = struct.pack("<II", 2**32 - 1, 1)
    assert all(0 < value <= 1e6 for value in read_photo(bytes(data)).resolution)


def test_the_thumbnail_of_the_camera_becomes_one_of_the_result(tmp_path: Path) -> None:
    thumbnail = save(tmp_path / "small.jpg", np.zeros((8, 8, 3), np.uint8)).read_bytes()

    def tag(image: Any) -> None:
        image.set_type(pyvips.GValue.blob_type, "jpeg-thumbnail-data", thumbnail)

    source = save(tmp_path / "in.jpg", np.full((400, 300, 3), 250, np.uint8), tag)
    write_photo(tmp_path / "out.jpg", read_photo(source))
    written = pyvips.Image.new_from_file(str(tmp_path / "out.jpg")).get("jpeg-thumbnail-data")
    small = pyvips.Image.new_from_buffer(written, "")
    assert max(small.width, small.height) == 160
    assert small.avg() > 240


def test_a_profile_goes_along_when_the_format_changes() -> None:
    photo = read_photo(encode_photo(Photo(picture(8, 8)), "png"))
    metadata = {"icc-profile-data": (pyvips.GValue.blob_type, ADOBE_RGB.icc())}
    wide = Photo(photo.pixels, metadata=metadata)
    for form in FORMATS:
        assert read_photo(encode_photo(wide, form)).profile == ADOBE_RGB.icc()
