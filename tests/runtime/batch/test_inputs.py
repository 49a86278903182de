from __future__ import annotations

import os
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.inputs import Inputs, Problem


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tree(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def paths(*arguments: str, left_out: tuple[str, ...] = ()) -> list[str]:
    inputs = Inputs(arguments, left_out)
    assert not inputs.problems
    return [photo.path for photo in inputs.found]


def test_a_folder_stands_for_all_photos_below_it_in_a_fixed_order() -> None:
    tree("in/b.JPG", "in/a.png", "in/notes.txt", "in/sub/c.webp", "in/sub/deep/d.tiff", "in/a/e.jpeg")
    assert paths("in") == ["in/a.png", "in/b.JPG", "in/a/e.jpeg", "in/sub/c.webp", "in/sub/deep/d.tiff"]
    assert [photo.inner for photo in Inputs(["in/"]).found][-1] == "sub/deep/d.tiff"


def test_hidden_files_and_earlier_results_are_no_photos() -> None:
    tree("in/a.png", "in/.b.png", "in/.trash/c.png", "in/a.restored.png", "in/a.mask.png", "in/a.compare.jpg")
    tree("in/a.illumination.png")
    assert paths("in") == ["in/a.png"]
    assert paths("in/*") == ["in/a.png"]
    assert paths("in/a.restored.png", "in/.b.png") == ["in/a.restored.png", "in/.b.png"]  # named, so meant


def test_folders_of_results_and_masks_inside_are_left_out() -> None:
    tree("in/a.png", "in/out/a.png", "in/masks/a.png")
    assert paths("in", left_out=("in/out", "./in/../in/masks")) == ["in/a.png"]
    assert paths("in/out", left_out=("in/out",)) == ["in/out/a.png"]  # named, so meant


def test_links_in_a_circle_end_and_files_count_once() -> None:
    tree("in/a.png", "in/sub/b.png")
    os.symlink("..", "in/sub/up")
    os.symlink(".", "in/self")
    os.symlink("a.png", "in/z.png")
    os.symlink("in", "link")
    assert paths("in") == ["in/a.png", "in/sub/b.png"]
    assert paths("in", "in/a.png", "./in/../in/sub/b.png", "link", "link/**/*.png") == ["in/a.png", "in/sub/b.png"]
    assert paths("link/sub") == ["link/sub/b.png", "link/sub/up/a.png"]


def test_a_link_to_nothing_is_tried_so_that_it_is_reported() -> None:
    Path("in").mkdir()
    os.symlink("gone.png", "in/a.png")
    os.symlink("b.png", "in/b.png")
    assert paths("in") == ["in/a.png", "in/b.png"]


def test_what_is_no_file_is_no_photo() -> None:
    Path("in").mkdir()
    os.mkfifo("in/pipe.png")
    tree("in/a.png")
    assert paths("in") == ["in/a.png"]


def test_names_win_over_patterns() -> None:
    tree("a[1].png", "a1.png", "what?.png", "*.png")
    assert paths("a[1].png") == ["a[1].png"]
    assert paths("*.png") == ["*.png"]
    assert paths("a?.png") == ["a1.png"]


def test_what_holds_nothing_is_a_problem_and_the_rest_goes_on() -> None:
    tree("in/a.png", "empty/notes.txt")
    inputs = Inputs(["empty", "in", "x*.png", "nowhere/*.png", "", "absent.png"])
    assert [photo.path for photo in inputs.found] == ["in/a.png", "absent.png"]
    assert [problem.name for problem in inputs.problems] == ["empty", "x*.png", "nowhere", ""]
    assert "holds no photos" in inputs.problems[0].message
    assert inputs.problems[1].message == "matches no photos or videos"
    assert "No such file" in inputs.problems[2].message
    assert inputs.problems[3].message == "'' is no name of a file"


def test_folders_that_cannot_be_read_are_problems_and_the_rest_goes_on(unprivileged: Path) -> None:
    for name in ("in/a.png", "in/closed/b.png", "in/open/c.png"):
        (unprivileged / name).parent.mkdir(parents=True, exist_ok=True)
        (unprivileged / name).touch()
    (unprivileged / "in/closed").chmod(0)
    inputs = Inputs([str(unprivileged / "in")])
    assert [photo.inner for photo in inputs.found] == ["a.png", "open/c.png"]
    assert inputs.problems == [Problem(f"{unprivileged}/in/closed", "cannot be read: Permission denied")]


def test_names_that_are_not_utf8_or_break_lines() -> None:
    odd = [b"in/caf\xe9.png", b"in/new\nline.png", b"in/'quo\"te'.png", b"in/ space .png"]
    Path("in").mkdir()
    for name in odd:
        os.close(os.open(name, os.O_CREAT))
    assert sorted(os.fsencode(path) for path in paths("in")) == sorted(odd)
    assert len(paths("in/*[eaf]*.png")) == 4
