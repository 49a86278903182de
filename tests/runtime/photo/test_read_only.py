"""Formats that are read and not written, and CMYK."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo, write_photo
from tests.runtime.photo.profiles import ADOBE_RGB, builtin
from tests.runtime.tiny import picture, save

SMOOTH = np.kron(picture(6, 8), np.ones((8, 8, 1), np.uint8))


def written(array: Any, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def test_avif_is_read_with_profile_alpha_and_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "ACME"
    rgba = np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], 77, np.uint8)])
    photo = read_photo(written(rgba, "avif", quality=95, icc_profile=ADOBE_RGB.icc(), exif=exif))
    assert np.abs(photo.pixels.astype(int) - SMOOTH).mean() < 3
    assert photo.alpha is not None
    assert np.abs(photo.alpha.astype(int) - 77).max() <= 1
    assert photo.profile == ADOBE_RGB.icc()
    assert Image.open(BytesIO(encode_photo(photo, "png"))).getexif()[0x010F] == "ACME"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_once(orientation: int) -> None:
    """Libavif writes irot and imir for an orientation in EXIF, and keeps that."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = written(SMOOTH, "avif", quality=95, exif=exif)
    turns: Any = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: np.rot90,
    }  # fmt: skip
    upright = turns[orientation](SMOOTH)
    photo = read_photo(data)
    assert np.abs(photo.pixels.astype(int) - upright).mean() < 3
    again = Image.open(BytesIO(encode_photo(photo, "jpeg")))
    assert again.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_avif_has_the_whole_range(bits: int) -> None:
    steps = np.linspace(0, 2**bits - 1, 64).round().astype(np.uint16)
    stored = np.repeat(np.repeat(steps[None] << (16 - bits), 32, 0)[..., None], 3, 2)
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(stored), 64, 32, 3, "ushort").copy(interpretation="rgb16")
    photo = read_photo(image.heifsave_buffer(compression="av1", bitdepth=bits, lossless=True))
    assert photo.pixels.dtype == np.uint16
    expected = np.rint(steps / (2**bits - 1) * 65535)
    assert np.abs(photo.pixels[0, :, 1] - expected).max() <= 1.5 * 65535 / 2**bits
    assert photo.pixels.max() == 65535


def test_gif_is_read() -> None:
    palette = Image.fromarray(SMOOTH).quantize(32)
    file = BytesIO()
    palette.save(file, "gif")
    photo = read_photo(file.getvalue())
    assert np.array_equal(photo.pixels, np.asarray(palette.convert("RGB")))
    file = BytesIO()
    palette.save(file, "gif", transparency=int(np.asarray(palette)[0, 0]))
    assert read_photo(file.getvalue()).alpha is not None


@pytest.mark.parametrize("suffix", [".jpe", ".jfif", ".JPG"])
def test_every_usual_name_of_jpeg_is_written(tmp_path: Path, suffix: str) -> None:
    write_photo(tmp_path / f"a{suffix}", Photo(SMOOTH))
    assert (tmp_path / f"a{suffix}").read_bytes()[:3] == b"\xff\xd8\xff"
    assert read_photo(tmp_path / f"a{suffix}").pixels.shape == SMOOTH.shape


@pytest.mark.parametrize(
    ("start", "title"),
    [(b"\xff\x0a" + bytes(30), "JPEG XL"), (b"BM" + bytes(60), "BMP"), (b"\xff\x4f\xff\x51" + bytes(40), "JPEG 2000")],
)
def test_what_the_installed_libvips_cannot_read_is_named(start: bytes, title: str) -> None:
    with pytest.raises(PhotoError) as caught:
        read_photo(start, name="a.file")
    text = str(caught.value)
    assert text.startswith("a.file is ")
    assert title in text or "damaged" in text  # where it can
    assert "\n" not in text


def cmyk(suffix: str, tmp_path: Path, profile: bytes | None = builtin("cmyk"), deep: bool = False) -> tuple[bytes, Any]:
    """A CMYK file, and its ink values."""
    rgb = pyvips.Image.new_from_memory(np.ascontiguousarray(SMOOTH), SMOOTH.shape[1], SMOOTH.shape[0], 3, "uchar")
    inks = rgb.copy(interpretation="srgb").icc_export(output_profile="cmyk", depth=16 if deep else 8)

    def tag(image: Any) -> None:
        if profile is None:
            image.remove("icc-profile-data")
        else:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)

    inks = inks.copy()
    tag(inks)
    inks.write_to_file(str(tmp_path / f"cmyk{suffix}"))
    return (tmp_path / f"cmyk{suffix}").read_bytes(), inks.numpy()


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_srgb_by_its_profile(tmp_path: Path, suffix: str) -> None:
    data, inks = cmyk(suffix, tmp_path)
    photo = read_photo(data)
    assert photo.notes == ("it is converted from CMYK to sRGB by its profile",)
    assert photo.profile is None
    assert photo.pixels.shape == SMOOTH.shape
    assert np.abs(photo.pixels.astype(int) - by_little_cms(inks)).mean() < 4
    assert read_photo(encode_photo(photo, "jpeg")).notes == ()


def by_little_cms(inks: Any) -> Any:
    transform = ImageCms.buildTransform(
        BytesIO(builtin("cmyk")),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(ImageCms.applyTransform(Image.fromarray(inks, "CMYK"), transform))


@pytest.mark.parametrize("profile", [None, ADOBE_RGB.icc(), b"rubbish"])
def test_cmyk_without_a_profile_that_can_be_used(tmp_path: Path, profile: bytes | None) -> None:
    data, inks = cmyk(".tif", tmp_path, profile)
    photo = read_photo(data)
    assert photo.notes == (
        "it is converted from CMYK to sRGB by the usual profile of libvips, as it has none that can be used",
    )
    assert np.abs(photo.pixels.astype(int) - by_little_cms(inks)).mean() < 1


def test_inverted_inks_of_adobe(tmp_path: Path) -> None:
    """As Photoshop and Pillow write them: 255 is no ink, which the marker of Adobe says."""
    _, inks = cmyk(".tif", tmp_path)
    image = Image.fromarray(inks, "CMYK")
    file = BytesIO()
    image.save(file, "jpeg", quality=95, subsampling=0, icc_profile=builtin("cmyk"))
    assert b"Adobe" in file.getvalue()
    photo = read_photo(file.getvalue())
    assert np.abs(photo.pixels.astype(int) - by_little_cms(inks)).mean() < 4


def test_inks_as_luminance_and_colour(tmp_path: Path) -> None:
    """YCCK, as Photoshop writes it: the transform that the marker of Adobe names."""
    _, inks = cmyk(".tif", tmp_path)
    ycc = np.asarray(Image.fromarray(inks[..., :3]).convert("YCbCr"))
    stored = np.dstack([255 - ycc, inks[..., 3]])  # Pillow inverts it
    file = BytesIO()
    Image.fromarray(stored, "CMYK").save(file, "jpeg", quality=95, subsampling=0, icc_profile=builtin("cmyk"))
    data = bytearray(file.getvalue())
    data[data.index(b"Adobe") + 11] = 2
    photo = read_photo(bytes(data))
    assert np.abs(photo.pixels.astype(int) - by_little_cms(inks)).mean() < 4


def test_sixteen_bits_of_cmyk_stay_sixteen(tmp_path: Path) -> None:
    _, inks = cmyk(".tif", tmp_path)
    photo = read_photo(cmyk(".tif", tmp_path, deep=True)[0])
    assert photo.pixels.dtype == np.uint16
    assert np.abs(photo.pixels / 257 - by_little_cms(inks)).mean() < 2


def test_cmyk_is_turned_and_keeps_its_alpha(tmp_path: Path) -> None:
    _, inks = cmyk(".tif", tmp_path)
    five = np.dstack([inks, np.full(inks.shape[:2], 99, np.uint8)])
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(five), five.shape[1], five.shape[0], 5, "uchar")
    image = image.copy(interpretation="cmyk")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    image.write_to_file(str(tmp_path / "five.tif"))
    photo = read_photo(tmp_path / "five.tif")
    assert photo.pixels.shape == (SMOOTH.shape[1], SMOOTH.shape[0], 3)
    assert photo.alpha is not None
    assert (photo.alpha == 99).all()
    assert np.abs(photo.pixels.astype(int) - np.rot90(by_little_cms(inks), -1)).mean() < 1


def test_a_plain_file_is_no_cmyk(tmp_path: Path) -> None:
    assert read_photo(save(tmp_path / "a.jpg", SMOOTH)).notes == ()
