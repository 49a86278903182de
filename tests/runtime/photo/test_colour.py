"""What the networks see of photos in wide, narrow and grey colour spaces, and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo, write_photo
from shadowdiffusion.runtime.photo.colour import from_srgb, judge, to_srgb
from shadowdiffusion.runtime.restorer import Restorer
from tests.runtime.photo.profiles import ADOBE_RGB, PROPHOTO, Space, builtin, decode, grey
from tests.runtime.tiny import picture, save


def embed(profile: bytes) -> Any:
    return lambda image: image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)


@pytest.mark.parametrize("space", [ADOBE_RGB, PROPHOTO], ids=["Adobe", "ProPhoto"])
def test_colours_are_those_that_the_profile_says(space: Space) -> None:
    values = np.random.default_rng(0).random((20, 30, 3)).astype(np.float32)
    assert np.abs(to_srgb(values, space.icc()) - space.to_srgb(values)).max() < 2 / 255
    # of channels that are almost black, the tables of the library are off by up to 3/255
    assert np.abs(from_srgb(values, space.icc(), 3) - space.from_srgb(values)).mean() < 0.1 / 255


@pytest.mark.parametrize("profile", [builtin("p3"), ADOBE_RGB.icc(), PROPHOTO.icc()], ids=["P3", "Adobe", "ProPhoto"])
def test_the_way_there_and_back_changes_only_what_srgb_cannot_hold(profile: bytes) -> None:
    colours = np.random.default_rng(1).uniform(0.1, 1, (20, 30, 3)).astype(np.float32)
    there = from_srgb(colours, profile, 3)
    assert np.abs(there - colours).max() > 0.02
    assert np.abs(to_srgb(there, profile) - colours).max() < 2 / 255


def test_grey_follows_its_own_curve() -> None:
    values = np.linspace(0.05, 1, 50, dtype=np.float32).reshape(5, 10, 1)
    colours = to_srgb(values, grey(1.8))
    assert colours.shape == (5, 10, 3)
    assert np.abs(decode(colours) - values**1.8).max() < 0.003
    assert np.abs(from_srgb(colours, grey(1.8), 1) - values).max() < 1 / 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_of_a_profile_keeps_its_look_in_webp(dtype: Any) -> None:
    """WebP has no grey, and a profile of grey would be none for its pixels."""
    pixels = np.repeat(np.linspace(0.1, 1, 32), 32).reshape(32, 32) * np.iinfo(dtype).max
    metadata = {
        "icc-profile-data": (pyvips.GValue.blob_type, grey(1.4)),
        "xmp-data": (pyvips.GValue.blob_type, b"<x/>"),
    }
    photo = Photo(pixels.round().astype(dtype), metadata=metadata, profile=grey(1.4))
    written = read_photo(encode_photo(photo, "webp", 100))
    assert written.notes == ()
    assert written.profile is None
    assert written.metadata["xmp-data"][1] == b"<x/>"
    expected = photo.to_srgb((photo.pixels[..., None] / np.iinfo(dtype).max).astype(np.float32))
    assert np.abs(written.pixels / 255 - expected).max() < 3 / 255


def test_without_a_profile_values_are_srgb() -> None:
    values = np.random.default_rng(2).random((4, 5, 3)).astype(np.float32)
    assert np.array_equal(Photo(np.zeros((9, 9, 3), np.uint8)).to_srgb(values), values)
    photo = Photo(np.zeros((9, 9), np.uint8))
    assert np.array_equal(photo.to_srgb(values[..., :1]), np.repeat(values[..., :1], 3, 2))
    assert np.allclose(photo.from_srgb(photo.to_srgb(values[..., :1])), values[..., :1], atol=1e-6)


def test_a_profile_that_says_srgb_is_left_aside() -> None:
    assert judge(builtin("srgb"), 3) == "sRGB"
    assert judge(builtin("p3"), 3) == judge(grey(2.2), 1) == "own"


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"rubbish" * 99, id="rubbish"),
        pytest.param(ADOBE_RGB.icc()[:300], id="cut short"),
        pytest.param(ADOBE_RGB.icc()[:-1], id="a byte short"),
        pytest.param(ADOBE_RGB.icc().replace(b"rTRC", b"rXXX"), id="without a curve"),
        pytest.param(grey(2.2), id="of grey"),
        pytest.param(builtin("cmyk"), id="of CMYK"),
    ],
)
def test_a_profile_that_cannot_be_used_is_named_and_colours_are_srgb(tmp_path: Path, profile: bytes) -> None:
    assert judge(profile, 3) == "unusable"
    data = jpeg(picture(8, 9), icc_segment(profile))
    photo = read_photo(data)
    assert photo.notes == ("its colour profile is unusable: its colours are taken for sRGB",)
    assert photo.profile is None
    write_photo(tmp_path / "out.png", photo)


def test_a_camera_may_name_adobe_rgb_in_exif() -> None:
    values = np.random.default_rng(3).random((20, 30, 3)).astype(np.float32)
    for index, wide in [("R03", True), ("R98", False)]:

        def tag(image: Any, index: str = index) -> None:
            text = f"{index} ({index}, ASCII, 4 components, 4 bytes)"
            image.set_type(pyvips.GValue.gstr_type, "exif-ifd4-InteroperabilityIndex", text)

        image = pyvips.Image.black(8, 8, bands=3).copy(interpretation="srgb").copy()
        tag(image)
        photo = read_photo(image.jpegsave_buffer())
        assert (photo.profile is not None) == wide
        expected = ADOBE_RGB.to_srgb(values) if wide else values
        assert np.abs(photo.to_srgb(values) - expected).max() < 2 / 255
        for form in ("png", "jpeg", "webp", "tiff"):
            assert read_photo(encode_photo(photo, form)).profile == photo.profile


def test_a_padded_profile_is_cut_to_its_length() -> None:
    photo = read_photo(jpeg(picture(8, 9), icc_segment(ADOBE_RGB.icc() + bytes(4))))
    assert photo.profile == ADOBE_RGB.icc()
    assert read_photo(encode_photo(photo, "png")).profile == ADOBE_RGB.icc()


def jpeg(pixels: Any, segment: bytes) -> bytes:
    """With a segment put in behind its start, which no library would check."""
    data = encode_photo(Photo(pixels), "jpeg")
    return data[:2] + segment + data[2:]


def icc_segment(profile: bytes) -> bytes:
    """The start of it, where one segment does not hold all."""
    payload = b"ICC_PROFILE\0\1\1" + profile[:60000]
    return b"\xff\xe2" + (len(payload) + 2).to_bytes(2, "big") + payload


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_photo_knows_its_profile(tmp_path: Path, suffix: str) -> None:
    for name, profile, own in [("wide", ADOBE_RGB.icc(), True), ("usual", builtin("srgb"), False)]:
        photo = read_photo(save(tmp_path / f"{name}{suffix}", picture(8, 9), embed(profile)))
        assert photo.notes == ()
        assert photo.profile == (profile if own else None)
        assert photo.metadata["icc-profile-data"][1] == profile


@pytest.mark.parametrize("space", [ADOBE_RGB, PROPHOTO], ids=["Adobe", "ProPhoto"])
def test_a_scene_is_restored_the_same_in_every_colour_space(restorer: Restorer, space: Space) -> None:
    scene = 0.2 + 0.6 * picture(48, 40, np.float32)
    mask = np.zeros((48, 40), np.float32)
    mask[:, 20:] = 1
    usual = restorer(scene, mask).image
    photo = Photo(np.rint(space.from_srgb(scene) * 65535).astype(np.uint16), profile=space.icc())
    wide = photo.to_srgb((restorer(photo, mask).image / 65535).astype(np.float32))
    unaware = space.to_srgb(restorer(photo.pixels, mask).image / 65535)
    assert np.abs(wide - usual).mean() < 0.3 / 255 < np.abs(unaware - usual).mean()
