from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.batch.masks import Masks
from runtime.batch.plan import Job
from runtime.errors import PhotoError, RestoreError


def job(inner: str) -> Job:
    return Job(f"in/{inner}", inner, {"photo": "out"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/both.jpg", "masks/a.png", "masks/sub/a.tif", "masks/both.png", "masks/both.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    for name in ("masks/saved.mask.png", "masks/a.mask.png", "masks/a.txt"):
        Path(name).touch()


def test_masks_belong_to_photos_by_name_and_folder() -> None:
    masks = Masks("masks", 5)
    assert masks.of(job("a.jpg")) == "masks/a.png"
    assert masks.of(job("sub/a.jpg")) == "masks/sub/a.tif"
    assert masks.of(job("saved.jpg")) == "masks/saved.mask.png"
    assert Masks("masks/a.png", 1).of(job("other.jpg")) == "masks/a.png"


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
        Masks("masks", 5).of(job(inner))


def test_a_photo_is_not_its_own_mask() -> None:
    os.link("in/a.jpg", "masks/b.jpg")
    with pytest.raises(PhotoError, match="no mask for"):
        Masks("masks", 2).of(Job("in/a.jpg", "b.jpg", {"photo": "out"}))
    Path("in/a.png").touch()
    assert Masks("in", 2).of(Job("in/a.jpg", "a.jpg", {"photo": "out"})) == "in/a.png"


def test_masks_that_cannot_be_meant() -> None:
    with pytest.raises(RestoreError, match="mask gone does not exist"):
        Masks("gone", 1)
    with pytest.raises(RestoreError, match="one file for 2 photos"):
        Masks("masks/a.png", 2)
