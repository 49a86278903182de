"""Files that hold more than one picture: animations, pages, previews, raw data."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import read_photo
from tests.runtime.tiny import picture

PHOTO, PREVIEW = picture(40, 60), np.full((10, 15, 3), 200, np.uint8)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("png", "is an animation of 2 frames"),
        ("webp", "holds 2 pages or frames"),
        ("gif", "holds 2 pages or frames"),
        ("avif", "is an animation|holds 2 pages or frames"),
        ("tiff", "holds 2 pages or frames"),
    ],
)
def test_several_frames_are_refused(kind: str, message: str) -> None:
    file = BytesIO()
    first, second = (Image.fromarray(picture(16, 24, seed=seed)) for seed in (0, 1))
    first.save(file, kind, save_all=True, append_images=[second])
    with pytest.raises(PhotoError, match=message) as caught:
        read_photo(file.getvalue(), name="a picture")
    assert str(caught.value).startswith("a picture ")
    assert str(caught.value).endswith(": only single images are supported")
    single = BytesIO()
    first.save(single, kind, save_all=True)
    assert read_photo(single.getvalue()).pixels.shape == (16, 24, 3)


def pages(path: Path, *several: tuple[Any, int], **options: Any) -> Path:
    """A TIFF of pictures with their NewSubfileType."""
    with tifffile.TiffWriter(path, **options) as writer:
        for array, kind in several:
            writer.write(array, photometric="rgb", subfiletype=kind, metadata=None)
    return path


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=["classic", "big", "big-endian"])
@pytest.mark.parametrize(
    "several",
    [
        pytest.param([(PREVIEW, 1), (PHOTO, 0)], id="preview first"),
        pytest.param([(PHOTO, 0), (PREVIEW, 1)], id="preview last"),
        pytest.param([(PREVIEW, 1), (PREVIEW, 1), (PHOTO, 0)], id="two previews"),
        pytest.param([(PHOTO, 0)], id="alone"),
    ],
)
def test_the_photo_is_taken_and_not_its_preview(tmp_path: Path, several: Any, options: Any) -> None:
    assert np.array_equal(read_photo(pages(tmp_path / "a.tif", *several, **options)).pixels, PHOTO)


def test_a_photo_below_its_preview_is_found(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PREVIEW, photometric="rgb", subfiletype=1, subifds=2, metadata=None)
        writer.write(PREVIEW // 2, photometric="rgb", subfiletype=1, metadata=None)
        writer.write(PHOTO, photometric="rgb", subfiletype=0, metadata=None)
    assert np.array_equal(read_photo(tmp_path / "a.tif").pixels, PHOTO)


def test_previews_alone_and_two_photos_are_refused(tmp_path: Path) -> None:
    for name, several, message in [
        ("preview.tif", [(PREVIEW, 1)], "preview.tif holds nothing but a reduced preview"),
        ("two.tif", [(PHOTO, 0), (PREVIEW, 1), (PHOTO, 0)], "two.tif holds 2 pages"),
    ]:
        with pytest.raises(PhotoError, match=message):
            read_photo(pages(tmp_path / name, *several))


def raw(path: Path, *, dng: bool) -> Path:
    """As cameras write it: a preview, and below it the values behind a colour filter array."""
    version = [(50706, "B", 4, b"\x01\x04\0\0", True)] if dng else []
    with tifffile.TiffWriter(path) as writer:
        writer.write(PREVIEW, photometric="rgb", subfiletype=1, subifds=1, extratags=version, metadata=None)
        writer.write(np.zeros((64, 64), np.uint16), photometric="cfa", subfiletype=0, metadata=None)
    return path


@pytest.mark.parametrize("dng", [True, False])
def test_raw_data_is_refused_with_what_to_do(tmp_path: Path, dng: bool) -> None:
    with pytest.raises(PhotoError, match=r"a\.dng holds a camera's raw data: develop it first"):
        read_photo(raw(tmp_path / "a.dng", dng=dng))


@pytest.mark.parametrize(
    "start",
    [
        b"II*\0\x10\0\0\0CR\x02\0\0\0\0\0",
        b"\0\0\0\x18ftypcrx \0\0\0\x01",
        b"FUJIFILMCCD-RAW 0201",
        b"IIU\0\x18\0\0\0\x88\xe7\x74\xd8\0\0\0\0",
        b"IIRO\x08\0\0\0\0\0\0\0\0\0\0\0",
    ],
    ids=["CR2", "CR3", "RAF", "RW2", "ORF"],
)
def test_raw_files_are_known_by_their_start(start: bytes) -> None:
    with pytest.raises(PhotoError, match="raw data: develop it first"):
        read_photo(start + bytes(100))


def test_pages_in_a_circle_end(tmp_path: Path) -> None:
    data = bytearray(pages(tmp_path / "a.tif", (PHOTO, 0)).read_bytes())
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    data[first + 2 + 12 * count : first + 6 + 12 * count] = struct.pack("<I", first)
    assert np.array_equal(read_photo(bytes(data)).pixels, PHOTO)
