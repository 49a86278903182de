"""Damage anywhere in a bundle is refused in one line, or the bundle still restores a photo: no crash, no hang."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shadowdiffusion import runtime
from shadowdiffusion.runtime.errors import RestoreError
from tests.runtime.tiny import picture, write_bundle

CASES = 800
"""Of each kind; a tiny bundle takes a few milliseconds."""

FUZZ = settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("whole") / "bundle", golden=True)


@pytest.fixture(scope="module")
def place(whole: Path) -> Path:
    return Path(shutil.copytree(whole, whole.parent / "damaged"))


@st.composite
def damage(draw: st.DrawFn, size: int) -> tuple[str, int, int]:
    """A kind of damage, where, and how much of it."""
    kind = draw(st.sampled_from(("flip", "cut", "insert", "zero")))
    return kind, draw(st.integers(0, size - 1)), draw(st.integers(0, 7))


def damaged(data: bytes, kind: str, where: int, amount: int) -> bytes:
    if kind == "cut":
        return data[:where]
    if kind == "insert":
        return data[:where] + bytes(range(48, 49 + amount)) + data[where:]
    if kind == "zero":
        return data[:where] + bytes(amount + 1) + data[where + amount + 1 :]
    return data[:where] + bytes([data[where] ^ 1 << amount]) + data[where + 1 :]


def outcome(bundle: Path) -> str:
    """What a user sees: the error's line, or nothing when the photo was restored."""
    photo = picture(20, 28)
    try:
        restored = runtime.load(bundle, "portable", "cpu", 1)(photo, np.ones((20, 28), np.float32), steps=2)
    except RestoreError as error:
        return str(error)
    return "" if restored.image.shape == photo.shape else f"shape {restored.image.shape}"


@FUZZ
@given(st.data())
def test_a_damaged_manifest(whole: Path, place: Path, data: st.DataObject) -> None:
    raw = (whole / "manifest.json").read_bytes()
    (place / "manifest.json").write_bytes(damaged(raw, *data.draw(damage(len(raw)))))
    text = outcome(place)
    assert "\n" not in text.strip()
    assert not text.startswith("shape")


@FUZZ
@given(st.data())
def test_a_damaged_file(whole: Path, place: Path, data: st.DataObject) -> None:
    shutil.copyfile(whole / "manifest.json", place / "manifest.json")
    names = sorted(str(file.relative_to(whole)) for file in whole.rglob("*") if file.is_file())
    name = data.draw(st.sampled_from([name for name in names if name != "manifest.json"]))
    raw = (whole / name).read_bytes()
    broken = damaged(raw, *data.draw(damage(len(raw))))
    (place / name).write_bytes(broken)
    try:
        assert ("damaged" in (text := outcome(place)) and name in text) or broken == raw
    finally:
        (place / name).write_bytes(raw)


def test_a_multiple_that_would_fill_the_memory_is_refused(whole: Path, place: Path) -> None:
    raw = (whole / "manifest.json").read_text()
    (place / "manifest.json").write_text(raw.replace('"multiple": 8', '"multiple": 80123'))
    assert "multiple" in outcome(place)
