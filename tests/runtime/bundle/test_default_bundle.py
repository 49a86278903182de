"""The bundles that ship: they fit and check; shadows are lifted, the rest is left alone, exposure is corrected."""

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle import opening
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE, MANIFEST, Task
from shadowdiffusion.runtime.bundle.opening import built_in, load_bundle, locate
from shadowdiffusion.runtime.errors import BundleError
from shadowdiffusion.runtime.gain.illumination import to_encoded, to_linear
from shadowdiffusion.runtime.photo import read_photo

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


@pytest.mark.parametrize("task", get_args(Task))
def test_each_is_small_verified_and_described(task: Task) -> None:
    restorer = runtime.load(built_in(task), "portable", "cpu", 2)
    manifest = restorer.bundle.manifest
    assert manifest.task == task
    assert manifest.model.everywhere == (task != "shadow")
    assert sum(entry.size for entry in manifest.files.values()) <= 25e6
    assert (DEFAULT_BUNDLE.parent / f"{task}.md").is_file()
    assert restorer.check() >= 50
    assert manifest.verification["onnx"].differences["loop"].psnr >= 60


def test_a_task_without_a_bundle_names_those_that_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exposure").mkdir()
    (tmp_path / "exposure" / MANIFEST).touch()
    monkeypatch.setattr(opening, "DEFAULT_BUNDLE", tmp_path / "shadow")
    with pytest.raises(BundleError, match=r"no built-in bundle for low-light \(there is: exposure\)"):
        built_in("low-light")


@pytest.mark.parametrize("task", get_args(Task))
def test_a_name_is_the_built_in_bundle(task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / task).mkdir()  # a folder of photos, perhaps, but no bundle
    assert load_bundle(task).path == built_in(task)
    assert runtime.load(task, "portable", "cpu", 1).bundle.manifest.task == task
    assert locate(f"./{task}") == Path(task)
    with pytest.raises(BundleError, match="no manifest"):
        load_bundle(tmp_path / task)


def test_a_bundle_in_the_current_folder_goes_before_a_built_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(built_in("low-light"), "shadow")
    assert load_bundle("shadow").manifest.task == "low-light"
    shutil.rmtree("shadow")
    Path("shadow").write_bytes(b"no zip file")
    with pytest.raises(BundleError, match="not a whole zip file"):
        load_bundle("shadow")


def test_an_unknown_name_names_the_built_in_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"bundle shadows does not exist: .*built-in.*exposure, low-light, shadow"):
        load_bundle("shadows")


@pytest.mark.parametrize(
    ("task", "stops", "least"), [("exposure", -3.0, 6.0), ("exposure", 2.5, 3.0), ("low-light", -4.5, 8.0)]
)
def test_wrong_exposure_is_corrected(task: Task, stops: float, least: float) -> None:
    """dB gained over the photo that came out too dark or too bright."""
    photo = read_photo(ROOT / "tests/data/photos/val/budgie_0013.jpg").pixels
    wrong = to_encoded((to_linear(photo.astype(np.float32) / np.float32(255)) * np.float32(2**stops)).clip(0, 1))
    wrong = np.round(255 * wrong).astype(np.uint8)
    found = runtime.load(built_in(task), "portable", "cpu", 2)(wrong).image
    errors = [float(np.square(image.astype(float) - photo).mean()) for image in (wrong, found)]
    assert 10 * np.log10(errors[0] / errors[1]) > least


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
