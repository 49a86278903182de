from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.inputs import Inputs
from shadowdiffusion.runtime.batch.patterns import match, split

FILES = ["a.jpg", "b.png", "x/a.jpg", "x/y/a.jpg", "x/y/b.jpg", "x/y.jpg/c.jpg", "z/y/a.jpg", "z/q1.jpg", "z/q22.jpg"]

PATTERNS = """*.jpg */*.jpg **/*.jpg x/**/*.jpg **/y/*.jpg */y/a.* z/q?.jpg z/q[0-9]*.jpg ** x/* [xz] **/**/a.jpg */**
x/y.* **/y"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("pattern", PATTERNS.split())
def test_patterns_match_what_the_shell_would(tree: Path, pattern: str, absolute: bool) -> None:
    if absolute:
        pattern = f"{tree}/{pattern}"
    expected = set[str]()
    for path in glob.glob(pattern, recursive=True):
        if os.path.isdir(path):  # a folder stands for its photos
            expected |= {os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names}
        else:
            expected.add(path)
    found = Inputs([pattern]).found
    assert {os.path.realpath(photo.path) for photo in found} == {os.path.realpath(path) for path in expected}
    base, _ = split(pattern)
    assert all(photo.path == os.path.join(base, photo.inner) for photo in found)


def test_names_that_are_there_win_over_patterns(tree: Path) -> None:
    for name in ("holiday [2024]/a.jpg", "holiday [2024]/[b]/c.jpg", "holiday 2/a.jpg", "x/[y]/a.jpg", "what?/*/a.jpg"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()

    def found(pattern: str) -> list[str]:
        inputs = Inputs([pattern])
        assert not inputs.problems
        return [photo.path for photo in inputs.found]

    assert found("holiday [2024]/*.jpg") == ["holiday [2024]/a.jpg"]
    assert found("holiday [2024]/**/*.jpg") == ["holiday [2024]/a.jpg", "holiday [2024]/[b]/c.jpg"]
    assert found(f"{tree}/holiday [2024]/[b]/?.jpg") == [f"{tree}/holiday [2024]/[b]/c.jpg"]
    assert found("holiday [0-9]/*.jpg") == ["holiday 2/a.jpg"]
    assert found("hol*/[b]/*.jpg") == ["holiday [2024]/[b]/c.jpg"]
    assert found("?/[y]/a.jpg") == ["x/[y]/a.jpg", "x/y/a.jpg", "z/y/a.jpg"]
    assert found("what?/*/*.jpg") == ["what?/*/a.jpg"]
    assert found("holiday [[]2024]/*.jpg") == ["holiday [2024]/a.jpg"]


def test_only_folders_that_may_hold_a_match_are_searched() -> None:
    assert match(["x"], ["x", "*.jpg"]) == "below"
    assert match(["y"], ["x", "*.jpg"]) == "no"
    assert match(["x", "y"], ["x", "*.jpg"]) == "no"
    assert match(["x", "y"], ["**", "*.jpg"]) == "below"
    assert split("/*.jpg") == ("/", ("*.jpg",))
    assert split("a/b//c*/d") == ("a/b/", ("c*", "d"))
