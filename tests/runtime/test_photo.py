from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from runtime.errors import PhotoError
from runtime.photo import (
    Format,
    Photo,
    as_mask,
    check_encoding,
    check_target,
    encode_photo,
    read_photo,
    suffix_of,
    write_photo,
)
from tests.runtime.tiny import load_pixels, picture, save

EXACT = [".png", ".tif"]
ALL = [".png", ".jpg", ".webp", ".tif"]


@pytest.mark.parametrize("suffix", EXACT)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_lossless_formats_survive_a_round_trip(tmp_path: Path, suffix: str, dtype: Any, bands: int) -> None:
    array = picture(13, 9, dtype, bands)
    photo = read_photo(save(tmp_path / f"in{suffix}", array))
    assert photo.pixels.dtype == dtype
    assert photo.pixels.shape == ((13, 9) if bands < 3 else (13, 9, 3))
    assert (photo.alpha is not None) == (bands in (2, 4))
    write_photo(tmp_path / f"out{suffix}", photo)
    assert np.array_equal(load_pixels(tmp_path / f"out{suffix}"), array)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"in{suffix}", f"out{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str, channels: int) -> None:
    array = np.repeat(np.repeat(picture(8, 8, channels=channels), 8, 0), 8, 1)
    write_photo(tmp_path / f"out{suffix}", Photo(array))
    back = load_pixels(tmp_path / f"out{suffix}")
    if channels == 1 and back.ndim == 3:
        back = back[..., 0]  # WebP has no grey
    assert np.abs(back.astype(int) - array).mean() < 4


@pytest.mark.parametrize("form", ["png", "jpeg", "webp", "tiff"])
def test_bytes_and_files_are_the_same(tmp_path: Path, form: Format) -> None:
    photo = Photo(picture(20, 30))
    data = encode_photo(photo, form)
    write_photo(tmp_path / f"out{suffix_of(form)}", photo)
    assert (tmp_path / f"out{suffix_of(form)}").read_bytes() == data
    assert np.array_equal(read_photo(data).pixels, read_photo(tmp_path / f"out{suffix_of(form)}").pixels)
    with pytest.raises(PhotoError, match="standard input is damaged"):
        read_photo(data[:-30] if form != "tiff" else data[:300], name="standard input")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_quality_is_kept(form: Format) -> None:
    photo = Photo(picture(64, 64))
    sizes = [len(encode_photo(photo, form, quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(sizes)
    assert sizes[2] == len(encode_photo(photo, form))


@pytest.mark.parametrize(
    ("form", "quality", "message"),
    [
        ("png", 80, "png is lossless and has no quality"),
        ("tiff", 80, "tiff is lossless"),
        ("jpeg", 0, "quality 0 is out of range"),
        ("webp", 101, "quality 101"),
    ],
)
def test_a_quality_that_cannot_be_is_refused(tmp_path: Path, form: Format, quality: int, message: str) -> None:
    for attempt in (check_encoding, lambda form, quality: encode_photo(Photo(picture(4, 4)), form, quality)):
        with pytest.raises(PhotoError, match=message):
            attempt(form, quality)
    with pytest.raises(PhotoError, match=message):
        write_photo(tmp_path / "out", Photo(picture(4, 4)), form=form, quality=quality)
    assert not list(tmp_path.iterdir())


def test_a_format_can_be_named_where_the_file_does_not(tmp_path: Path) -> None:
    write_photo(tmp_path / "out.result", Photo(picture(4, 4)), form="webp")
    assert (tmp_path / "out.result").read_bytes()[8:12] == b"WEBP"
    with pytest.raises(PhotoError, match=r"out\.jpg as png: its name says jpeg"):
        write_photo(tmp_path / "out.jpg", Photo(picture(4, 4)), form="png")
    with pytest.raises(PhotoError, match="must end in one of"):
        write_photo(tmp_path / "out", Photo(picture(4, 4)))


def test_jpeg_is_written_without_colour_subsampling(tmp_path: Path) -> None:
    write_photo(tmp_path / "out.jpg", Photo(picture(32, 32)))
    image = pyvips.Image.new_from_file(str(tmp_path / "out.jpg"))
    assert image.get("jpeg-chroma-subsample") == "4:4:4"


def test_sixteen_bits_are_rounded_where_the_format_holds_eight(tmp_path: Path) -> None:
    flat = np.full((16, 16), 40000, np.uint16)
    write_photo(tmp_path / "out.jpg", Photo(flat))
    assert np.abs(load_pixels(tmp_path / "out.jpg").astype(int) - round(40000 / 257)).max() <= 1


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int) -> None:
    upright = np.zeros((48, 32, 3), np.uint8)
    upright[:24, :16] = 255  # white top left
    undo: Any = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: np.rot90,
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: lambda a: np.rot90(a, -1),
    }[orientation]  # fmt: skip

    def tag(image: Any) -> None:
        image.set_type(pyvips.GValue.gint_type, "orientation", orientation)

    source = save(tmp_path / f"in{suffix}", np.ascontiguousarray(undo(upright)), tag)
    photo = read_photo(source)
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 8
    write_photo(tmp_path / f"out{suffix}", photo)
    again = read_photo(tmp_path / f"out{suffix}")
    assert np.abs(again.pixels.astype(int) - upright).mean() < 8
    written = pyvips.Image.new_from_file(str(tmp_path / f"out{suffix}"))
    assert (written.get("orientation") if written.get_typeof("orientation") else 1) == 1


@pytest.mark.parametrize("suffix", ALL)
def test_profile_xmp_exif_and_resolution_are_kept(tmp_path: Path, suffix: str) -> None:
    profile = pyvips.Image.black(4, 4, bands=3).copy(interpretation="srgb").icc_export(output_profile="p3")
    profile_bytes = profile.get("icc-profile-data")
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'

    def tag(image: Any) -> None:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile_bytes)
        image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
        image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Make", "ACME (ACME, ASCII, 5 components, 5 bytes)")
        image.set_type(pyvips.GValue.gint_type, "orientation", 6)

    source = save(tmp_path / f"in{suffix}", picture(10, 14), tag)
    photo = read_photo(source)
    write_photo(tmp_path / f"out{suffix}", photo)
    image = pyvips.Image.new_from_file(str(tmp_path / f"out{suffix}"))
    assert image.get("icc-profile-data") == profile_bytes
    assert image.get("xmp-data") == xmp
    if suffix != ".tif":  # libvips has no EXIF in TIFF
        assert image.get("exif-ifd0-Make").startswith("ACME")
    original = pyvips.Image.new_from_file(str(source))
    assert (image.xres, image.yres) == pytest.approx((original.xres, original.yres), rel=0.01)


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


@pytest.mark.parametrize("suffix", ALL)
@pytest.mark.parametrize("part", [0.02, 0.2, 0.5, 0.8, 0.97])
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    whole = save(tmp_path / f"whole{suffix}", picture(200, 150)).read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(PhotoError, match=r"cut\..*(damaged|not a)") as caught:
        read_photo(cut)
    assert "\n" not in str(caught.value)


def bomb(path: Path, width: int, height: int) -> Path:
    """A PNG whose header promises far more than its few bytes of data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="60000x60000 = 3600 megapixels, the limit is 200"):
        read_photo(bomb(tmp_path / "bomb.png", 60000, 60000))
    small = save(tmp_path / "small.png", picture(20, 30))
    with pytest.raises(PhotoError, match="30x20"):
        read_photo(small, max_pixels=599)
    assert read_photo(small, max_pixels=600).pixels.shape == (20, 30, 3)


def test_what_is_no_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image, whatever its name says")
    (tmp_path / "magic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"rubbish" * 9)
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    for name, message in [
        ("absent.jpg", "does not exist"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "is not a PNG, JPEG, WebP or TIFF"),
        ("magic.png", "damaged"),
        ("drawing.svg", "is not a PNG, JPEG, WebP or TIFF"),
        (".", "is a folder"),
    ]:
        with pytest.raises(PhotoError, match=message):
            read_photo(tmp_path / name)


def test_kinds_of_pixels_that_are_not_supported_are_named(tmp_path: Path) -> None:
    cmyk = pyvips.Image.black(8, 8, bands=4).copy(interpretation="cmyk")
    cmyk.write_to_file(str(tmp_path / "cmyk.jpg"))
    pyvips.Image.black(8, 8, bands=3).cast("float").write_to_file(str(tmp_path / "float.tif"))
    frames = pyvips.Image.black(8, 16, bands=3).copy(interpretation="srgb")
    frames.write_to_file(str(tmp_path / "pages.tif"), page_height=8)
    for name, message in [("cmyk.jpg", "CMYK"), ("float.tif", "unsupported kind"), ("pages.tif", "2 pages")]:
        with pytest.raises(PhotoError, match=message):
            read_photo(tmp_path / name)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save(path, np.zeros((4, 4, 3), np.uint8))
    assert read_photo(path).pixels.max() == 0
    save(path, np.full((4, 4, 3), 9, np.uint8))
    assert read_photo(path).pixels.min() == 9


def test_masks_take_any_grey_level_and_colour() -> None:
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    expected = np.array([[0, 0.2], [0.4, 1]], np.float32)
    colour = np.repeat(grey[..., None], 3, 2)
    for mask in (
        grey,
        colour,
        colour[..., :1],
        grey.astype(np.uint16) * 257,
        expected,
        expected.astype(np.float64),
    ):
        assert np.allclose(as_mask(mask, 2, 2), expected, atol=1e-6)
    assert as_mask(np.eye(2, dtype=bool), 2, 2).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 3)), "all black"),
        (np.ones((3, 2)), "2x3 pixels, the photo 3x2"),
        (np.full((2, 3), 2.0), "from 2 to 2, expected 0 to 1"),
        (np.full((2, 3), np.nan), "nan"),
        (np.ones((2, 3), np.int64), "type int64"),
        (np.ones((2, 3, 4)), "shape"),
        (np.ones(6), "shape"),
    ],
)
def test_masks_that_cannot_be_used_are_refused(mask: Any, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        as_mask(mask, 2, 3)


def test_targets_are_checked(tmp_path: Path) -> None:
    taken = save(tmp_path / "taken.png", picture(4, 4))
    (tmp_path / "folder.png").mkdir()
    for name, overwrite, message in [
        ("a.bmp", False, "must end in"),
        ("folder.png", True, "is a folder"),
        ("taken.png", False, "exists already"),
    ]:
        with pytest.raises(PhotoError, match=message):
            check_target(tmp_path / name, overwrite)
    assert check_target(taken, True) == "png"


def test_a_finished_file_is_shown_before_it_takes_its_name(tmp_path: Path) -> None:
    seen = []

    def finished(file: Path) -> None:
        seen.append(read_photo(file).pixels)
        assert not (tmp_path / "a.png").exists()

    photo = Photo(picture(4, 4))
    write_photo(tmp_path / "a.png", photo, finished=finished)
    assert np.array_equal(seen[0], photo.pixels)

    def another(file: Path) -> None:
        (tmp_path / "b.png").write_bytes(b"mine")

    with pytest.raises(PhotoError, match="exists already"):
        write_photo(tmp_path / "b.png", photo, finished=another)
    assert (tmp_path / "b.png").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    rgba = Photo(picture(4, 4), np.full((4, 4), 9, np.uint8))
    with pytest.raises(PhotoError, match="transparency"):
        write_photo(tmp_path / "a.jpg", rgba)
    with pytest.raises(PhotoError, match="16383"):
        write_photo(tmp_path / "a.webp", Photo(np.zeros((1, 16384), np.uint8)))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PhotoError, match="cannot write"):
        write_photo(tmp_path / "file" / "a.png", rgba)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
