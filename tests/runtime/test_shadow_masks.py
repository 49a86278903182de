"""Masks as people and programs make them: what they mean, which are refused, and which are doubted."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from msgspec.structs import replace
from PIL import Image

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle.folder import write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import PhotoError
from shadowdiffusion.runtime.gain.resizing import fitted, reduced
from shadowdiffusion.runtime.photo import Photo, read_photo
from shadowdiffusion.runtime.shadow_masks import doubts, fits, mask_plane
from tests.runtime.tiny import picture, save, write_bundle

HEIGHT, WIDTH = 30, 40
EXAMPLE = Path(__file__).parents[2] / "docs" / "example"


def drawn() -> Any:
    """A shadow, bool [H, W]: the darker half of `picture`, less a margin."""
    shadow = np.zeros((HEIGHT, WIDTH), bool)
    shadow[:, WIDTH // 2 + 1 :] = True
    return shadow


def image(*planes: Any) -> Any:
    return np.stack(np.broadcast_arrays(*planes), axis=-1)


SHADOW = drawn()
FULL = np.full((HEIGHT, WIDTH), 255, np.uint8)
SAME = {
    "white on black": SHADOW * np.uint8(255),
    "0 and 1": SHADOW.astype(np.uint8),
    "0 and 1 of 16 bits": SHADOW.astype(np.uint16),
    "two greys": np.where(SHADOW, 60, 20).astype(np.uint8),
    "grey as colour": image(*[SHADOW * np.uint8(255)] * 3),
    "one colour on black": image(SHADOW * np.uint8(128), *[FULL * 0] * 2),
    "alpha of a white layer": image(*[FULL] * 3, SHADOW * np.uint8(255)),
    "alpha of a black layer": image(*[FULL * 0] * 3, SHADOW * np.uint8(255)),
    "alpha of a red layer": image(FULL, FULL * 0, FULL * 0, SHADOW * np.uint8(255)),
    "alpha of a grey layer": image(FULL, SHADOW * np.uint8(255)),
    "painted, with anything below what is transparent": image(*[np.where(SHADOW, 255, 7)] * 3, SHADOW * 255).astype(
        np.uint8
    ),
    "opaque alpha": image(*[SHADOW * np.uint8(255)] * 3, FULL),
    "16 bits with opaque alpha": image(*[SHADOW * np.uint16(65535)] * 3, np.full_like(FULL, 65535, np.uint16)),
}
REFUSED = {
    "black": (FULL * 0, "all black"),
    "labels": (picture(HEIGHT, WIDTH, channels=1) // 60, "values from 1 to 3 of 255, like an image of labels"),
    "8 bits in 16": (picture(HEIGHT, WIDTH, channels=1).astype(np.uint16), "of 65535, like an image of labels"),
    "labels in colour": (image(SHADOW * 128, np.eye(HEIGHT, WIDTH) * 128, FULL * 0).astype(np.uint8), "is in colour"),
    "a brush over the photo": (
        np.where(SHADOW[..., None], np.array([255, 0, 0], np.uint8), picture(HEIGHT, WIDTH)),
        "is in colour",
    ),
    "red on white": (image(FULL, *[np.where(SHADOW, 0, 255)] * 2).astype(np.uint8), "is in colour"),
    "the photo with a hole": (
        image(*picture(HEIGHT, WIDTH).transpose(2, 0, 1), SHADOW * 255).astype(np.uint8),
        "partly",
    ),
    "a transparent drawing": (image(*[SHADOW * np.uint8(255)] * 3, FULL // 2), "partly transparent"),
    "nothing but transparency": (image(*[FULL] * 3, FULL * 0), "partly transparent"),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("source", ["file", "array", "PIL"])
def test_every_way_to_draw_a_mask_means_the_same(
    restorer: runtime.Restorer, tmp_path: Path, name: str, source: str
) -> None:
    photo, mask = picture(HEIGHT, WIDTH), SAME[name]
    expected = restorer(photo, SHADOW.astype(np.float32)).image
    given: Any = mask
    if source == "file":
        given = save(tmp_path / "m.png", mask)
    elif source == "PIL":
        if mask.dtype == np.uint16 and mask.ndim == 3:
            pytest.skip("PIL has no such images")
        given = Image.fromarray(mask)
    assert not np.array_equal(expected, photo)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(restorer(photo, given).image, expected)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused(restorer: runtime.Restorer, tmp_path: Path, name: str) -> None:
    mask, message = REFUSED[name]
    file = save(tmp_path / "m.png", mask)
    for given, called in ((file, f"mask {file}"), (mask, "the mask"), (Image.open(file), f"mask {file}")):
        with pytest.raises(PhotoError, match=message) as caught:
            restorer(picture(HEIGHT, WIDTH), given)
        assert str(caught.value).startswith(f"{called} ")


def test_a_palette_with_one_label_is_its_mask_and_more_are_refused(restorer: runtime.Restorer, tmp_path: Path) -> None:
    photo, voc = picture(HEIGHT, WIDTH), [0, 0, 0, 128, 0, 0, 0, 128, 0]
    labels = Image.fromarray(SHADOW.astype(np.uint8), "P")
    labels.putpalette(voc)
    labels.save(tmp_path / "one.png")
    assert Image.open(tmp_path / "one.png").mode == "P"
    expected = restorer(photo, SHADOW).image
    for given in (tmp_path / "one.png", labels):
        np.testing.assert_array_equal(restorer(photo, given).image, expected)
    more = Image.fromarray(SHADOW.astype(np.uint8) + np.eye(HEIGHT, WIDTH, dtype=np.uint8), "P")
    more.putpalette(voc)
    more.save(tmp_path / "more.png")
    for given in (tmp_path / "more.png", more):
        with pytest.raises(PhotoError, match="is in colour"):
            restorer(photo, given)


def test_soft_masks_keep_their_values() -> None:
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    expected = np.array([[0, 0.2], [0.4, 1]], np.float32)
    for mask in (grey, image(grey, grey, grey), grey.astype(np.uint16) * 257, expected, expected.astype(np.float64)):
        assert np.allclose(mask_plane(Photo(mask), "m"), expected, atol=1e-6)
    soft = np.where(SHADOW, np.linspace(0, 255, WIDTH), 0).astype(np.uint8)
    layer = Photo(image(FULL, FULL * 0, FULL * 0), soft)
    np.testing.assert_array_equal(mask_plane(layer, "m"), soft / np.float32(255))


def test_a_jpeg_of_a_mask_is_a_soft_mask(tmp_path: Path) -> None:
    file = tmp_path / "m.jpg"
    Image.fromarray(SAME["grey as colour"]).save(file, quality=60)
    assert np.abs(mask_plane(read_photo(file), "m") - SHADOW).mean() < 0.02


@pytest.mark.parametrize(
    ("mask", "photo", "same"),
    [
        ((300, 400), (600, 800), True),
        ((341, 512), (4000, 6000), True),
        ((342, 512), (4000, 6000), True),
        ((344, 512), (4000, 6000), False),
        ((1080, 1919), (1080, 1920), True),
        ((1080, 1900), (1080, 1920), False),
        ((800, 600), (600, 800), False),
    ],
)
def test_proportions_are_the_same_to_within_a_pixel(mask: Any, photo: Any, same: bool) -> None:
    assert fits(mask, photo) is same
    assert fits(photo, mask) is same


@pytest.mark.parametrize("size", [(15, 20), (60, 80), (45, 60)])
def test_a_mask_of_another_size_is_resized_with_a_note(restorer: runtime.Restorer, size: tuple[int, int]) -> None:
    photo = picture(HEIGHT, WIDTH)
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 2 :] = 255
    restored = restorer(photo, mask, with_prior=True)
    assert restored.notes == (f"the mask is {size[1]}x{size[0]} pixels, the photo 40x30: the mask is resized",)
    own = np.zeros((HEIGHT, WIDTH), np.uint8)
    own[:, WIDTH // 2 :] = 255
    expected = restorer(photo, own, with_prior=True)
    assert restored.prior is not None
    assert expected.prior is not None
    away = np.abs(np.arange(WIDTH) - WIDTH / 2 + 0.5) > 2  # resizing softens the border
    np.testing.assert_array_equal(restored.prior[:, away], expected.prior[:, away])


def test_other_proportions_are_refused(restorer: runtime.Restorer, tmp_path: Path) -> None:
    photo = picture(HEIGHT, WIDTH)
    with pytest.raises(PhotoError, match="the mask is 40x20 pixels, the photo 40x30: they must have the same"):
        restorer(photo, np.eye(20, 40))
    turned = save(tmp_path / "turned.jpg", photo, lambda made: made.set_type(pyvips.GValue.gint_type, "orientation", 6))
    with pytest.raises(PhotoError, match=r"40x30 pixels, the photo 30x40 \(turned by 90 degrees\?\)"):
        restorer(turned, SHADOW)
    assert restorer(turned, np.rot90(SHADOW, -1)).image.shape == (WIDTH, HEIGHT, 3)


def test_a_mask_of_everything_is_doubted_where_shadows_are_restored(restorer: runtime.Restorer, tmp_path: Path) -> None:
    for mask in (FULL, FULL // 200, image(*[FULL] * 3)):
        with pytest.warns(UserWarning, match="marks the whole photo as shadow"):
            restorer(picture(HEIGHT, WIDTH), mask)
    bundle = write_bundle(tmp_path / "b")
    manifest = load_bundle(bundle).manifest
    write_manifest(bundle, replace(manifest, model=replace(manifest.model, matte_threshold=0.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runtime.load(bundle, "portable", "cpu", 1)(picture(HEIGHT, WIDTH), FULL)


def test_an_inverted_mask_is_doubted(restorer: runtime.Restorer, tmp_path: Path) -> None:
    photo = picture(HEIGHT, WIDTH)
    with pytest.warns(UserWarning, match=r"^the mask marks what is brighter than its surroundings: it may be inverted"):
        restorer(photo, ~SHADOW)
    file = save(tmp_path / "m.png", ~SHADOW * np.uint8(255))
    with pytest.warns(UserWarning, match=f"^mask {file} marks what is brighter"):
        restorer(photo, file)


def test_a_mask_drawn_by_hand_on_a_real_photo_is_not_doubted_and_its_inverse_is() -> None:
    photo = read_photo(EXAMPLE / "shadow.jpg")
    mask = mask_plane(read_photo(EXAMPLE / "shadow.mask.png"), "m")
    for size in (96, 200, 504):
        seen = reduced(photo.pixels, size)
        small = fitted(mask, *seen.shape[:2])
        assert doubts(small, seen) == ""
        assert "inverted" in doubts(1 - small, seen)


def test_light_on_both_sides_of_the_border_tells_a_mask_from_its_inverse() -> None:
    """Made shadows from a faint one (half of the light) to a deep one, on texture, with masks that miss by a bit."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :160]
    for depth, miss in ((0.1, 2), (0.3, 2), (0.5, 1)):
        for grown in (-miss, 0, miss):
            distance = np.hypot(rows - 60, columns - 80) - 35
            texture = rng.uniform(0.2, 0.8, (120, 160, 3)).astype(np.float32)
            light = texture**2.2 * np.where(distance < 0, depth, 1)[..., None]
            photo = (light ** (1 / 2.2)).astype(np.float32)
            mask = (distance < grown).astype(np.float32)
            assert doubts(mask, photo) == ""
            assert "inverted" in doubts(1 - mask, photo)
    assert doubts(mask, texture) == ""  # no shadow at all: nothing can be told
    assert doubts(1 - mask, texture) == ""
