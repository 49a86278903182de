from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import pytest

from shadowdiffusion.runtime.batch.inputs import Inputs
from shadowdiffusion.runtime.batch.masks import Partners
from shadowdiffusion.runtime.batch.plan import Job
from shadowdiffusion.runtime.errors import PhotoError, RestoreError

COMPOSED, DECOMPOSED = (normalize(form, "pr\u00e9 caf\u00e9") for form in ("NFC", "NFD"))


def job(inner: str) -> Job:
    return Job(f"in/{inner}", inner, {"photo": "out"})


def tree(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree("in/a.jpg", "in/both.jpg", "masks/a.png", "masks/sub/a.tif", "masks/both.png", "masks/both.jpg")
    tree("masks/saved.mask.png", "masks/a.mask.png", "masks/a.txt")


def test_masks_belong_to_photos_by_name_and_folder() -> None:
    masks = Partners("masks", "mask")
    assert masks.of(job("a.jpg")) == "masks/a.png"
    assert masks.of(job("sub/a.jpg")) == "masks/sub/a.tif"
    assert masks.of(job("saved.jpg")) == "masks/saved.mask.png"


@pytest.mark.parametrize("ending", ["", ".mask", "_mask", "-mask"])
def test_masks_may_say_so_in_their_names(ending: str) -> None:
    tree(f"named/a b{ending}.png", "named/other.png")
    assert Partners("named", "mask").of(job("a b.jpg")) == f"named/a b{ending}.png"
    if ending:
        with pytest.raises(PhotoError, match="no clean estimate for"):
            Partners("named", "clean estimate").of(job("a b.jpg"))


@pytest.mark.parametrize(("photo", "mask"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_names_are_the_same_however_their_letters_are_composed(photo: str, mask: str) -> None:
    tree(f"masks/{mask}/{mask}_mask.png")
    masks = Partners("masks", "mask")
    assert masks.of(job(f"{photo}/{photo}.jpg")) == f"masks/{mask}/{mask}_mask.png"
    tree(f"exact/{mask}.png", f"exact/{photo}.png")
    assert Partners("exact", "mask").of(job(f"{photo}.jpg")) == f"exact/{photo}.png"


def test_one_mask_stands_for_all_photos() -> None:
    masks = Partners("masks/a.png", "mask")
    assert {masks.of(job(name)) for name in ("a.jpg", "other.jpg", "deep/b.jpg")} == {"masks/a.png"}


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("none.jpg", "folder masks has no mask for in/none.jpg"),
        ("sub/none.jpg", "folder masks/sub has no mask"),
        ("deep/a.jpg", "folder masks/deep has no mask"),
        ("both.jpg", "has both.jpg and both.png for in/both.jpg: exactly one"),
    ],
)
def test_a_mask_is_never_guessed(inner: str, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        Partners("masks", "mask").of(job(inner))


def test_a_photo_is_not_its_own_mask() -> None:
    os.link("in/a.jpg", "masks/b.jpg")
    with pytest.raises(PhotoError, match="no mask for"):
        Partners("masks", "mask").of(Job("in/a.jpg", "b.jpg", {"photo": "out"}))
    tree("in/a.png")
    assert Partners("in", "mask").of(Job("in/a.jpg", "a.jpg", {"photo": "out"})) == "in/a.png"
    with pytest.raises(PhotoError, match=r"in/a\.jpg cannot be its own mask"):
        Partners("in/a.jpg", "mask").of(job("a.jpg"))


def test_masks_among_the_photos_are_not_restored() -> None:
    tree("in/a_mask.png", "in/sub/b.png", "in/sub/b-mask.tif", "in/c_mask.png", "in/theatre-mask.jpg")
    kept = ["a.jpg", "both.jpg", "c_mask.png", "theatre-mask.jpg", "sub/b.png"]
    assert [photo.inner for photo in Partners("in", "mask").without(Inputs(["in"]).found)] == kept
    everything = Inputs(["in"]).found
    assert Partners("masks", "mask").without(everything) == everything
    assert [photo.path for photo in Inputs(["in/sub"], left_out=["in/sub/b-mask.tif"]).found] == ["in/sub/b.png"]


def test_masks_that_cannot_be_meant() -> None:
    with pytest.raises(RestoreError, match="mask gone does not exist"):
        Partners("gone", "mask")
    with pytest.raises(RestoreError, match="clean estimate gone does not exist"):
        Partners("gone", "clean estimate")
