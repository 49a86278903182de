from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import msgspec
import numpy as np
import pytest

from shadowdiffusion import runtime
from shadowdiffusion.runtime.bundle.folder import write_manifest
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.errors import BundleError, PhotoError, RestoreError
from shadowdiffusion.runtime.gain.illumination import to_linear
from shadowdiffusion.runtime.photo import read_photo
from tests.runtime.tiny import make_sampling, picture, save, write_bundle


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 65), (640, 1), (1, 640), (48, 48), (100, 30)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("blind", [True, False])
def test_the_result_has_the_size_and_type_of_the_photo(
    restorer: runtime.Restorer, size: tuple[int, int], channels: int, blind: bool
) -> None:
    photo = picture(*size, channels=channels)
    mask = None if blind else np.ones(size, np.uint8)
    restored = restorer(photo, mask, with_prior=True)
    assert restored.image.shape == photo.shape
    assert restored.image.dtype == photo.dtype
    assert restored.prior is not None
    assert restored.prior.shape == photo.shape
    assert restored.mask is not None
    assert restored.mask.shape == size
    assert 0 <= restored.mask.min() <= restored.mask.max() <= 1
    assert max(restored.illumination.shape[:2]) == min(48, max(size))
    assert restored.timings["total"] > 0


def test_the_prior_alone_is_what_the_degradation_model_says(restorer: runtime.Restorer) -> None:
    photo = np.full((40, 40, 3), 0.4, np.float32)
    mask = np.ones((40, 40), np.float32)
    restored = restorer(photo, mask, with_prior=True)
    assert restored.prior is not None
    assert np.abs(restored.prior - 0.6).max() < 1e-5
    assert restorer(photo, mask).prior is None


def test_the_illumination_is_the_photo_over_the_result_in_linear_light(restorer: runtime.Restorer) -> None:
    photo = picture(40, 40, np.float32)
    restored = restorer(photo, np.ones((40, 40), np.float32))
    ratio = (to_linear(photo) + 1e-4) / (to_linear(restored.image) + 1e-4)
    assert np.abs(restored.illumination - ratio).max() < 1e-3
    assert restored.illumination.min() < 0.8


def test_strength_scales_the_logarithm_of_the_gain(restorer: runtime.Restorer) -> None:
    photo = picture(60, 90, np.float32, channels=1)
    whole, half, none = (restorer(photo, strength=strength) for strength in (1.0, 0.5, 0.0))
    assert np.array_equal(none.image, photo)
    assert none.image is not photo
    assert np.array_equal(none.illumination, whole.illumination)
    assert np.array_equal(restorer(photo).image, whole.image)
    inside = (whole.image > 0.001) & (whole.image < 0.999)  # nothing was cut off there
    light, changed, halfway = (to_linear(array)[inside] + 1e-4 for array in (photo, whole.image, half.image))
    assert np.abs(np.log(halfway / light) - 0.5 * np.log(changed / light)).max() < 1e-3
    for strength in (-0.1, 1.1, float("nan")):
        with pytest.raises(RestoreError, match="choose 0"):
            restorer(photo, strength=strength)


def test_native_runs_the_networks_at_the_size_of_the_photo(restorer: runtime.Restorer) -> None:
    photo = picture(50, 70)
    native = restorer(photo, native=True)
    assert native.illumination.shape == photo.shape
    assert np.array_equal(native.image, restorer(photo, working_size=70).image)
    with pytest.raises(RestoreError, match="leave out working size 20"):
        restorer(photo, native=True, working_size=20)


def test_a_decoded_photo_is_restored_as_its_file(restorer: runtime.Restorer, tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", picture(30, 40))
    assert np.array_equal(restorer(read_photo(file)).image, restorer(file).image)


def test_without_a_mask_the_shadow_is_found_first_and_then_restored_as_if_drawn(restorer: runtime.Restorer) -> None:
    """The tiny prior's matte is the red channel halved without a mask, and 0.25 of it counts as shadow."""
    image = np.full((1, 3, 16, 16), 0.6, np.float32)
    image[..., :8] = 0.1
    found = np.zeros((1, 1, 16, 16), np.float32)
    found[..., 8:] = 1
    table = restorer.bundle.table()
    blind, given = (restorer.loop.restore(image, mask, table, [0], with_mask=True) for mask in (None, found))
    for name in ("image", "clean", "mask", "illumination"):
        assert np.array_equal(getattr(blind, name), getattr(given, name))


def test_equal_seeds_give_equal_results_and_others_differ(restorer: runtime.Restorer) -> None:
    photo = picture(60, 90)
    first, second, other = (restorer(photo, seed=seed).image for seed in (3, 3, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_sixteen_bits_and_floats_agree_with_eight(restorer: runtime.Restorer) -> None:
    photo = picture(60, 90)
    base = restorer(photo).image / 255
    deep = restorer(photo.astype(np.uint16) * 257).image
    assert deep.dtype == np.uint16
    assert len(np.unique(deep)) > 256  # the precision is real
    assert np.abs(deep / 65535 - base).max() < 0.003
    real = restorer(photo / 255).image
    assert real.dtype == np.float64
    assert np.abs(real - base).max() < 0.003


def test_many_photos_together_are_restored_as_each_alone(restorer: runtime.Restorer, tmp_path: Path) -> None:
    sizes = [(40, 60), (60, 40), (40, 60), (80, 120), (9, 9), (40, 60), (60, 40)]
    photos: list[Any] = [picture(*size, seed=seed) for seed, size in enumerate(sizes)]
    masks: list[Any] = [None, np.ones((60, 40), np.uint8), np.eye(40, 60, dtype=np.uint8), None, None, None, None]
    alone = [restorer(photo, mask, seed=7, with_prior=True) for photo, mask in zip(photos, masks, strict=True)]
    photos[3] = save(tmp_path / "photo.png", photos[3])
    for batch in (1, 3, 8):
        together = list(restorer.many(iter(photos), iter(masks), batch=batch, seed=7, with_prior=True))
        assert len(together) == len(alone)
        for one, other in zip(alone, together, strict=True):
            for field in ("image", "mask", "illumination", "prior"):
                assert np.array_equal(getattr(one, field), getattr(other, field)), field
    assert len(list(restorer.many([]))) == 0


@pytest.mark.parametrize("native", [False, True])
def test_threads_that_share_a_restorer_get_what_each_would_alone(bundle: Path, native: bool) -> None:
    sizes = [(40, 60), (60, 40), (40, 60), (9, 9), (80, 120), (1, 30)]
    photos = [picture(*size, seed=seed) for seed, size in enumerate(sizes)]
    alone = [runtime.load(bundle, "portable", "cpu", 1)(photo, seed=7, native=native) for photo in photos]
    shared, together = runtime.load(bundle, "portable", "cpu", 1), Barrier(len(photos))  # no network is open yet

    def restore(photo: Any) -> list[runtime.Restored]:
        together.wait()
        return [shared(photo, seed=7, native=native) for _ in range(5)]

    with ThreadPoolExecutor(len(photos)) as threads:
        for one, others in zip(alone, threads.map(restore, photos), strict=True):
            for other in others:
                for field in ("image", "mask", "illumination"):
                    assert np.array_equal(getattr(one, field), getattr(other, field)), field


def test_photos_of_one_working_size_share_a_call_of_the_loop(restorer: runtime.Restorer) -> None:
    calls: list[int] = []

    class Counting:
        title, networks = restorer.loop.title, restorer.loop.networks

        def restore(self, images: Any, *arguments: Any) -> Any:
            calls.append(len(images))
            return restorer.loop.restore(images, *arguments)

    counting = runtime.Restorer(restorer.bundle, Counting())
    photos = [picture(*size) for size in ((40, 60), (60, 40), (80, 120), (120, 80), (120, 180))]
    list(counting.many(photos, batch=4))  # all are 32x48 or 48x32 where the networks run
    assert calls == [2, 2, 1]


@pytest.mark.parametrize(("count", "which"), [(1, "fewer"), (3, "more")])
def test_another_number_of_masks_is_refused(restorer: runtime.Restorer, count: int, which: str) -> None:
    photos = [picture(20, 20)] * 2
    with pytest.raises(RestoreError, match=f"{which} masks than photos"):
        list(restorer.many(photos, [None] * count))
    with pytest.raises(RestoreError, match="choose at least 1 photo"):
        restorer.many(photos, batch=0)


def test_files_and_arrays_agree(restorer: runtime.Restorer, tmp_path: Path) -> None:
    photo, mask = picture(30, 40), picture(30, 40, channels=1, seed=1)
    from_files = restorer(save(tmp_path / "a.png", photo), save(tmp_path / "m.png", mask))
    assert np.array_equal(from_files.image, restorer(photo, mask).image)


def test_steps_and_progress(restorer: runtime.Restorer) -> None:
    seen: list[tuple[int, int]] = []
    restorer(picture(9, 9), steps=5, progress=lambda *done: seen.append(done))
    assert seen == [(k, 5) for k in range(1, 6)]
    with pytest.raises(RestoreError, match=r"no schedule for 3 steps: choose one of 2, 5"):
        restorer(picture(9, 9), steps=3)


def test_the_working_size_bounds_the_networks_and_never_enlarges(restorer: runtime.Restorer) -> None:
    photo = picture(30, 60)
    assert restorer(photo, working_size=20).illumination.shape == (10, 20, 3)
    assert restorer(photo, working_size=999).illumination.shape == (30, 60, 3)
    with pytest.raises(RestoreError, match="working size 0"):
        restorer(photo, working_size=0)


@pytest.mark.parametrize(
    "photo",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.full((4, 4, 3), 1.5),
        np.zeros((4, 4), int),
    ],
)
def test_arrays_that_are_no_photo_are_refused(restorer: runtime.Restorer, photo: Any) -> None:
    with pytest.raises(PhotoError, match="the photo has"):
        restorer(photo)


@pytest.mark.parametrize(
    "changes",
    [
        {"eta": 0.5},
        {"clamp": True},
        {"start": 40},
        {"mask_policy": "late"},
        {"mask_policy": "predicted"},
        {"mask_policy": "closed-form"},
        {"data_consistency": False, "clamp": True},
    ],
    ids=str,
)
def test_every_way_of_sampling_runs(tmp_path: Path, changes: dict[str, Any]) -> None:
    restorer = runtime.load(write_bundle(tmp_path / "b", make_sampling(**changes)), "portable", "cpu", 1)
    photo = picture(20, 30)
    first, second = restorer(photo, steps=5), restorer(photo, steps=5)
    assert np.array_equal(first.image, second.image)
    assert len(np.unique(first.image)) > 2


def test_a_bundle_without_prior_needs_a_mask(tmp_path: Path) -> None:
    sampling = make_sampling(data_consistency=False)
    restorer = runtime.load(write_bundle(tmp_path / "b", sampling, prior=False), "portable", "cpu", 1)
    assert restorer(picture(9, 9), np.ones((9, 9))).image.shape == (9, 9, 3)
    with pytest.raises(RestoreError, match="give a mask"):
        restorer(picture(9, 9))


def test_the_golden_check_passes_and_fails(bundle: Path, tmp_path: Path) -> None:
    assert runtime.load(bundle, "portable", "cpu", 1).check() > 60
    copy = Path(shutil.copytree(bundle, tmp_path / "b"))
    manifest = load_bundle(copy).manifest
    other = msgspec.structs.replace(manifest.sampling, data_consistency=False)
    write_manifest(copy, msgspec.structs.replace(manifest, sampling=other))
    with pytest.raises(BundleError, match="cannot be trusted"):
        runtime.load(copy, "portable", "cpu", 1).check()
    with pytest.raises(BundleError, match="no golden"):
        runtime.load(write_bundle(tmp_path / "plain"), "portable", "cpu", 1).check()


def test_backends_and_threads_that_cannot_be_had_are_named(bundle: Path) -> None:
    import onnxruntime

    with pytest.raises(RestoreError, match="0 threads"):
        runtime.load(bundle, threads=0)
    with pytest.raises(RestoreError, match="'tpu' is unknown"):
        runtime.load(bundle, "tpu")  # type: ignore[arg-type]
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(RestoreError, match="onnxruntime-gpu"):
            runtime.load(bundle, "portable", "cuda")


def test_both_onnxruntime_packages_are_warned_about(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shadowdiffusion.runtime.backends.onnxruntime_networks._is_installed", lambda name: True)
    with pytest.warns(UserWarning, match="both installed"):
        runtime.load(bundle, "portable", "cpu")
