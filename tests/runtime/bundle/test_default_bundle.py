"""The bundle that ships: it fits, it checks, it lifts a real shadow and leaves the rest of the photo alone."""

from pathlib import Path

import numpy as np
import pytest

import runtime
from runtime.bundle.folder import DEFAULT_BUNDLE
from runtime.bundle.opening import load_bundle
from runtime.photo import read_photo

ROOT = Path(__file__).parents[3]
PHOTO, MASK = ROOT / "docs/example/shadow.jpg", ROOT / "docs/example/shadow.mask.png"


@pytest.fixture(scope="module")
def restorer() -> runtime.Restorer:
    return runtime.load(threads=2)


def shrunk(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask without a band of that many pixels along its edge."""
    kept = mask.copy()
    for axis in (0, 1):
        for shift in range(-pixels, pixels + 1):
            kept &= np.roll(mask, shift, axis)
    return kept


def test_it_is_small_verified_and_described(restorer: runtime.Restorer) -> None:
    bundle = load_bundle(None)
    assert sum(entry.size for entry in bundle.manifest.files.values()) <= 25e6
    assert DEFAULT_BUNDLE.with_suffix(".md").is_file()
    assert restorer.check() >= 50
    assert bundle.manifest.verification["onnx"].differences["loop"].psnr >= 60


def test_a_drawn_shadow_is_lifted_and_the_rest_stays(restorer: runtime.Restorer) -> None:
    photo, mask = read_photo(PHOTO).pixels, read_photo(MASK).pixels.squeeze() > 127
    restored = restorer(PHOTO, MASK)
    before, after = photo.astype(float), restored.image.astype(float)
    inside, outside = shrunk(mask, 4), shrunk(~mask, 8)
    assert after[inside].mean() > 1.6 * before[inside].mean()
    assert np.abs(after - before)[outside].mean() < 3


def test_a_shadow_is_found_without_a_mask(restorer: runtime.Restorer) -> None:
    photo, mask = read_photo(PHOTO).pixels, read_photo(MASK).pixels.squeeze() > 127
    restored = restorer(PHOTO)
    inside, outside = shrunk(mask, 4), shrunk(~mask, 8)
    gain = restored.image.astype(float).mean(-1) - photo.astype(float).mean(-1)
    assert gain[inside].mean() > 10
    assert gain[inside].mean() > 5 * np.abs(gain[outside]).mean()


@pytest.mark.parametrize("name", ["osm2world_0031", "budgie_0013"])
def test_a_photo_without_shadows_keeps_its_light(restorer: runtime.Restorer, name: str) -> None:
    photo = read_photo(ROOT / f"tests/data/photos/val/{name}.jpg").pixels
    change = np.abs(restorer(photo).image.astype(float) - photo)
    assert change.mean() < 4
