"""What is written: which format, with or without transparency and metadata, under names of any length."""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image

from shadowdiffusion.runtime.batch.settings import Settings
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.photo import Photo, encode_photo, read_photo, write_photo
from shadowdiffusion.runtime.photo.background import composed, parse_colour
from tests.runtime.batch.fakes import SETTINGS, FakeRestorer, jobs_of, photo_at, restored
from tests.runtime.photo.profiles import ADOBE_RGB
from tests.runtime.photo.test_xmp import ULTRA_HDR, photo_of_a_phone
from tests.runtime.tiny import picture

ICC = "icc-profile-data"


def transparent(path: Path, alpha: int) -> Path:
    write_photo(path, Photo(picture(8, 9), np.full((8, 9), alpha, np.uint8)))
    return path


def saved(path: Path, array: Any, **options: Any) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_photos_that_are_only_read_become_jpeg_or_png(tmp_path: Path) -> None:
    rgba = np.dstack([picture(16, 24), np.full((16, 24), 90, np.uint8)])
    deep = pyvips.Image.new_from_memory(picture(16, 24, np.uint16), 24, 16, 3, "ushort").copy(interpretation="rgb16")
    deep.heifsave(str(tmp_path / "deep.avif"), compression="av1", bitdepth=10)
    saved(tmp_path / "plain.avif", picture(16, 24))
    saved(tmp_path / "glass.AVIF", rgba)
    Image.fromarray(picture(16, 24)).quantize(16).save(tmp_path / "flat.gif")
    (tmp_path / "misnamed.heic").write_bytes(encode_photo(Photo(picture(16, 24)), "tiff"))
    jobs = jobs_of(tmp_path, output=tmp_path / "out")
    assert {job.inner: os.path.basename(job.targets["photo"]) for job in jobs} == {
        "deep.avif": "deep.png",
        "flat.gif": "flat.jpg",
        "glass.AVIF": "glass.png",
        "misnamed.heic": "misnamed.tif",
        "plain.avif": "plain.jpg",
    }
    for job in jobs:
        assert restored(job).status == "restored", restored(job).error
    assert read_photo(tmp_path / "out/deep.png").pixels.dtype == np.uint16
    assert read_photo(tmp_path / "out/glass.png").alpha is not None
    assert jobs_of(tmp_path / "plain.avif", format="webp")[0].targets["photo"].endswith("plain.restored.webp")


def test_transparency_that_jpeg_cannot_hold_is_refused_before_the_networks_run(tmp_path: Path) -> None:
    restorer = FakeRestorer()
    outcome = restored(jobs_of(transparent(tmp_path / "a.png", 254), output=tmp_path / "a.jpg")[0], restorer)
    assert "JPEG has no transparency" in (outcome.error or "")
    assert "--background" in (outcome.error or "")
    assert restorer.calls == 0
    assert not (tmp_path / "a.jpg").exists()


def test_transparency_that_hides_nothing_is_left_out(tmp_path: Path) -> None:
    outcome = restored(jobs_of(transparent(tmp_path / "a.png", 255), output=tmp_path / "a.jpg")[0])
    assert outcome.status == "restored", outcome.error
    assert read_photo(tmp_path / "a.jpg").pixels.shape == (8, 9, 3)


def test_a_background_is_put_below_it(tmp_path: Path) -> None:
    settings = replace(SETTINGS, background="#ff8000", quality=100)
    source = tmp_path / "a.png"
    alpha = np.zeros((16, 32), np.uint8)
    alpha[:, 16:] = 255
    write_photo(source, Photo(np.full((16, 32, 3), 55, np.uint8), alpha))
    job = jobs_of(source, output=tmp_path / "a.jpg", compare=True)[0]
    outcome = restored(job, settings=settings)
    assert outcome.status == "restored", outcome.error
    assert outcome.settings["background"] == "#ff8000"
    pixels = read_photo(tmp_path / "a.jpg").pixels.astype(int)
    assert np.abs(pixels[:, :12] - [255, 128, 0]).max() <= 2
    assert np.abs(pixels[:, 20:] - 200).max() <= 2  # the stand-in inverts
    compared = read_photo(tmp_path / "a.compare.jpg").pixels.astype(int)
    assert np.abs(compared[:, :12] - [255, 128, 0]).mean() < 4
    assert restored(job, settings=settings).status == "skipped"
    assert "background" in (restored(job, settings=replace(settings, background="#000000")).error or "")
    png = jobs_of(source, output=tmp_path / "b.png")[0]
    assert restored(png, settings=settings).settings.get("background") is None
    assert read_photo(tmp_path / "b.png").alpha is not None


def test_a_background_is_a_colour_of_srgb() -> None:
    photo = Photo(np.zeros((2, 2, 3), np.uint16), np.zeros((2, 2), np.uint16), profile=ADOBE_RGB.icc())
    on_red = composed(photo, "#ff0000")
    expected = ADOBE_RGB.from_srgb(np.array([[[1.0, 0, 0]]])) * 65535
    assert np.abs(on_red.pixels[0, 0] - expected[0, 0]).max() < 700
    half = Photo(np.zeros((600, 2), np.uint8), np.full((600, 2), 128, np.uint8))
    assert (composed(half, "#ffffff").pixels == 127).all()
    assert composed(half, "#ffffff").alpha is None


@pytest.mark.parametrize(("text", "colour"), [("white", "#ffffff"), ("#F80", "#ff8800"), ("00ff7f", "#00ff7f")])
def test_colours_are_understood(text: str, colour: str) -> None:
    assert parse_colour(text) == colour


@pytest.mark.parametrize("text", ["", "#12", "#gggggg", "whitish", "rgb(1,2,3)"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    with pytest.raises(PhotoError, match="is no colour: write #rrggbb"):
        parse_colour(text)


@pytest.mark.parametrize(
    ("size", "name", "limit"),
    [((2, 65536), "a.jpg", 65535), ((65536, 2), "a.jpg", 65535), ((1, 16384), "a.webp", 16383)],
)
def test_sides_that_a_format_cannot_hold_are_refused_before_the_networks_run(
    tmp_path: Path, size: tuple[int, int], name: str, limit: int
) -> None:
    source, restorer = tmp_path / "in.png", FakeRestorer()
    write_photo(source, Photo(np.zeros(size, np.uint8)))
    outcome = restored(jobs_of(source, output=tmp_path / name)[0], restorer)
    assert f"the photo is {size[1]}x{size[0]}" in (outcome.error or "")
    assert f"allows {limit} pixels a side" in (outcome.error or "")
    if name == "a.jpg":
        outcome = restored(jobs_of(source, output=tmp_path / "a.png", compare=True)[0], restorer)
        assert "a.compare.jpg" in (outcome.error or "")
    assert restorer.calls == 0


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_metadata_can_be_left_out(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "ACME", 6
    exif.get_ifd(0x8825)[1] = "N"
    file = BytesIO()
    Image.fromarray(picture(16, 24)).save(
        file, "jpeg", exif=exif, icc_profile=ADOBE_RGB.icc(), comment="secret", xmp=ULTRA_HDR, dpi=(300, 300)
    )
    source = tmp_path / "in.jpg"
    source.write_bytes(file.getvalue())
    job = jobs_of(source, output=tmp_path / name)[0]
    outcome = restored(job, settings=replace(SETTINGS, strip_metadata=True))
    assert outcome.status == "restored", outcome.error
    assert outcome.settings["strip_metadata"] is True
    data = (tmp_path / name).read_bytes()
    for secret in (b"ACME", b"secret", b"xmpmeta", b"Exif", b"J\xc3\xb6rg"):
        assert secret not in data
    with Image.open(BytesIO(data)) as image:
        assert image.size == (16, 24)  # upright
        assert image.info.get("icc_profile") == ADOBE_RGB.icc()
        if name != "a.tif":
            assert not image.getexif()
        else:
            assert 0x010F not in image.getexif()
    assert read_photo(data).profile == ADOBE_RGB.icc()
    assert "made with strip_metadata True" in (restored(job).error or "")


def test_notes_are_told_with_the_photo(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo_of_a_phone(ULTRA_HDR))
    outcome = restored(jobs_of(tmp_path / "a.jpg")[0])
    assert outcome.notes == ["its gain map, video or other pictures are left out, and what XMP says of them"]
    assert outcome.record()["notes"] == outcome.notes


@pytest.mark.parametrize("length", [236, 240, 250, 255])
def test_long_names_are_written(tmp_path: Path, length: int) -> None:
    source = photo_at(tmp_path / ("n" * (length - 4) + ".png"))
    job = jobs_of(source, output=tmp_path / "out")[0]
    assert restored(job).status == "restored", restored(job).error
    assert restored(job).status == "skipped"
    assert sorted(os.listdir(tmp_path / "out")) == sorted([".shadowdiffusion.jsonl", source.name])


def test_names_that_become_too_long_are_refused_before_the_networks_run(tmp_path: Path) -> None:
    restorer = FakeRestorer()
    for wanted in ({}, {"output": tmp_path / "out", "compare": True}):
        outcome = restored(jobs_of(photo_at(tmp_path / ("n" * 250 + ".png")), **wanted)[0], restorer)  # type: ignore[arg-type]
        assert "File name too long" in (outcome.error or "")
    assert restorer.calls == 0


def test_settings_take_a_colour_by_name(tmp_path: Path) -> None:
    from shadowdiffusion.runtime.bundle.opening import load_bundle
    from tests.runtime.tiny import write_bundle

    bundle = load_bundle(write_bundle(tmp_path / "bundle"))
    settings = Settings.of(bundle, background="White", strip_metadata=True)
    assert settings.record("jpeg")["background"] == "#ffffff"
    assert settings.record("png").keys() == {"steps", "seed", "strength", "working_size", "strip_metadata"}
    with pytest.raises(PhotoError, match="background 'nothing' is no colour"):
        Settings.of(bundle, background="nothing")
