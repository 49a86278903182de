"""What a name on the command line stands for, and what each kind of method is told."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.quality.methods import Method, Photo, Settings, find_methods
from shadowdiffusion.runtime.errors import RestoreError
from tests.runtime.tiny import make_sampling, picture, write_bundle
from tests.training.trees import write

MASK = np.arange(56)[None].repeat(40, 0) < 20


def _photo(mask: bool = True, name: str = "a") -> Photo:
    pixels = np.random.default_rng(0).integers(30, 90, (40, 56, 3), dtype=np.uint8)
    return Photo(name, pixels, MASK if mask else None)


def _find(*names: str, bundle: Path | None = None, photos: tuple[str, ...] = ("a",)) -> list[Method]:
    return find_methods(names, bundle, "shadow", photos, Settings(steps=2))


def test_a_bundle_with_its_mask_and_without(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    whole, prior = _find("bundle", "prior", bundle=bundle)
    assert [outcome.mask for outcome in whole.results(_photo())] == ["given", "none"]
    assert [outcome.mask for outcome in prior.results(_photo(mask=False))] == ["none"]
    assert whole.bundle is not None
    assert (whole.bundle.name, whole.bundle.steps, len(whole.bundle.sha256)) == ("tiny", 2, 64)
    first, second = (next(method.results(_photo())).pixels for method in (whole, prior))
    assert first.shape == second.shape == (40, 56, 3)
    assert not np.array_equal(first, second)


def test_another_photo_of_the_same_name_is_restored_anew(tmp_path: Path) -> None:
    (method,) = _find("bundle", bundle=write_bundle(tmp_path / "bundle"))
    photo = _photo()
    other = Photo(photo.name, 255 - photo.pixels, photo.mask)
    first, second = (next(method.results(p)).pixels for p in (photo, other))
    assert second.mean() > first.mean() + 50


def test_bundles_by_their_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = write_bundle(tmp_path / "mine")
    with ZipFile(tmp_path / "packed.zip", "w") as archive:
        for file in bundle.iterdir():
            archive.write(file, file.name)
    folder, packed = _find(str(bundle), str(tmp_path / "packed.zip"))
    assert (folder.name, packed.name) == ("mine", "packed.zip")
    assert folder.bundle == packed.bundle is not None
    first, second = (next(method.results(_photo())).pixels for method in (folder, packed))
    assert np.array_equal(first, second)


def test_bundles_without_a_prior_need_a_mask(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", make_sampling(data_consistency=False), prior=False)
    with pytest.raises(BenchmarkError, match="has no prior network"):
        _find("prior", bundle=bundle)
    (method,) = _find("bundle", bundle=bundle)
    assert [outcome.mask for outcome in method.results(_photo())] == ["given"]
    assert list(method.results(_photo(mask=False))) == []


def test_results_of_others_are_found_by_the_name_of_the_photo(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "theirs" / f"{name}.png", picture(40, 56))
    (method,) = _find(str(tmp_path / "theirs"), photos=("a", "b"))
    (outcome,) = method.results(_photo(name="b"))
    assert (method.name, outcome.mask, outcome.seconds) == ("theirs", "unknown", None)
    assert np.array_equal(outcome.pixels, picture(40, 56))
    with pytest.raises(BenchmarkError, match="lack 2 of 3 photos: c, d; name them like the photos"):
        _find(str(tmp_path / "theirs"), photos=("a", "c", "d"))


def test_methods_that_need_no_bundle() -> None:
    methods = _find("identity", "he", "clahe", "lime", "gamma", "border-gain", "identity")
    assert [method.name for method in methods] == ["identity", "he", "clahe", "lime", "gamma", "border-gain"]
    for method in methods:
        (outcome,) = method.results(_photo())
        assert outcome.mask == ("given" if method.name == "border-gain" else "none")
        assert outcome.pixels.shape == (40, 56, 3)
    assert list(methods[-1].results(_photo(mask=False))) == []


def test_unknown_and_ambiguous_names(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="no method nonsense: use one of bundle, prior, identity"):
        _find("nonsense")
    for parent in ("x", "y"):
        write(tmp_path / parent / "same" / "a.png", picture(8, 8))
    with pytest.raises(BenchmarkError, match="two methods are called same"):
        _find(str(tmp_path / "x" / "same"), str(tmp_path / "y" / "same"))
    (tmp_path / "file.zip").write_bytes(b"no bundle")
    with pytest.raises(RestoreError):
        _find(str(tmp_path / "file.zip"))
