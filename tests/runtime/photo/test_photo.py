from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import (
    Format,
    Photo,
    check_encoding,
    encode_photo,
    read_photo,
    suffix_of,
    write_photo,
)
from shadowdiffusion.runtime.photo.encoding import _as_image
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


def test_every_value_of_sixteen_bits_is_rounded_to_the_nearest_of_eight() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    rounded = _as_image(Photo(every), "webp").numpy()
    assert np.array_equal(rounded, np.rint(every / 257))


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


def test_what_is_no_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not an image, whatever its name says")
    (tmp_path / "magic.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"rubbish" * 9)
    (tmp_path / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>")
    for name, message in [
        ("absent.jpg", "does not exist"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "is not a PNG, JPEG, WebP, TIFF"),
        ("magic.png", "damaged"),
        ("drawing.svg", "is not a PNG, JPEG, WebP, TIFF"),
        (".", "is a folder"),
    ]:
        with pytest.raises(PhotoError, match=message):
            read_photo(tmp_path / name)


def test_few_bits_and_palettes_are_expanded(tmp_path: Path) -> None:
    grey = (picture(9, 13, channels=1) // 64 * 85).astype(np.uint8)
    colours = np.repeat(grey[..., None], 3, 2) * np.array([1, 0, 1], np.uint8)
    alpha = np.where(grey > 100, 255, 128).astype(np.uint8)
    black = (grey > 100) * np.uint8(255)
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        (".png", black, {"bitdepth": 1}),
        (".tif", black, {"bitdepth": 1}),
        (".png", grey, {"bitdepth": 2}),
        (".png", colours, {"palette": True}),
        (".png", np.dstack([colours, alpha]), {"palette": True}),
    ]
    for suffix, array, options in cases:
        photo = read_photo(save(tmp_path / f"in{suffix}", array, **options))
        assert np.array_equal(photo.pixels, array[..., :3] if array.ndim == 3 else array)
        assert (photo.alpha is not None) == (array.shape[2:] == (4,))
        assert photo.alpha is None or np.array_equal(photo.alpha, alpha)


def test_kinds_of_pixels_that_are_not_supported_are_named(tmp_path: Path) -> None:
    pyvips.Image.black(8, 8, bands=3).cast("float").write_to_file(str(tmp_path / "float.tif"))
    frames = pyvips.Image.black(8, 16, bands=3).copy(interpretation="srgb")
    frames.write_to_file(str(tmp_path / "pages.tif"), page_height=8)
    for name, message in [("float.tif", "unsupported kind"), ("pages.tif", "2 pages")]:
        with pytest.raises(PhotoError, match=message):
            read_photo(tmp_path / name)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    save(path, np.zeros((4, 4, 3), np.uint8))
    assert read_photo(path).pixels.max() == 0
    save(path, np.full((4, 4, 3), 9, np.uint8))
    assert read_photo(path).pixels.min() == 9
