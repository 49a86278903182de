from __future__ import annotations

import os
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.inputs import Inputs
from shadowdiffusion.runtime.batch.plan import Wanted, plan
from shadowdiffusion.runtime.errors import RestoreError


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/sub/b.JPG", "in/sub/c.jpeg", "other/a.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def targets(arguments: list[str], **wanted: object) -> list[dict[str, str]]:
    jobs, problems = plan(Inputs(arguments).found, Wanted(**wanted))  # type: ignore[arg-type]
    assert not problems
    return [{str(kind): path for kind, path in job.targets.items()} for job in jobs]


def problems_of(arguments: list[str], **wanted: object) -> list[tuple[str, str]]:
    return [tuple(problem) for problem in plan(Inputs(arguments).found, Wanted(**wanted))[1]]  # type: ignore[arg-type, misc]


def photos(arguments: list[str], **wanted: object) -> list[str]:
    return [target["photo"] for target in targets(arguments, **wanted)]


def test_results_go_beside_their_photos_or_mirrored_into_a_folder() -> None:
    assert photos(["in"]) == ["in/a.restored.png", "in/sub/b.restored.JPG", "in/sub/c.restored.jpeg"]
    assert photos(["in"], photo="out") == ["out/a.png", "out/sub/b.JPG", "out/sub/c.jpeg"]
    assert photos(["in/sub/b.JPG"], photo="out") == ["out/b.JPG"]
    assert photos(["in/*/*"], photo="out/") == ["out/sub/b.JPG", "out/sub/c.jpeg"]
    assert photos(["in/a.png"], photo="x.jpg") == ["x.jpg"]
    Path("old.gif").mkdir()
    for folder in ("new.gif/", "old.gif", "v1.2", "photos.restored"):
        assert photos(["in/a.png"], photo=folder) == [f"{folder.rstrip('/')}/a.png"]
    assert photos(["in/a.png"], photo="x.png/") == ["x.png/a.png"]
    Path("y.png").mkdir()
    assert photos(["in/a.png"], photo="y.png") == ["y.png/a.png"]


def test_a_format_changes_the_extension_only_where_it_must() -> None:
    assert photos(["in"], photo="out", format="jpeg") == ["out/a.jpg", "out/sub/b.JPG", "out/sub/c.jpeg"]
    assert photos(["in/a.png"], format="webp") == ["in/a.restored.webp"]


def test_extras() -> None:
    assert targets(["in/a.png", "in/sub"], mask="m", illumination="i", compare=True)[1] == {
        "photo": "in/sub/b.restored.JPG",
        "mask": "m/b.mask.png",
        "illumination": "i/b.illumination.png",
        "compare": "in/sub/b.compare.jpg",
    }
    found = targets(["in/a.png"], photo="x.jpg", mask="m.png", compare=True)[0]
    assert found == {"photo": "x.jpg", "mask": "m.png", "compare": "x.compare.jpg"}


def test_stdin_and_stdout() -> None:
    assert photos(["-"]) == ["-"]
    assert photos(["in/a.png"], photo="-") == ["-"]
    assert photos(["-"], photo="x.png") == ["x.png"]
    assert photos(["-", "in/a.png"], photo="out", format="tiff") == ["out/stdin.tif", "out/a.tif"]
    assert "ends in none of .jpg" in problems_of(["-"], photo="out")[0][1]
    assert "no place beside stdout" in problems_of(["-"], compare=True)[0][1]


@pytest.mark.parametrize(
    ("arguments", "wanted", "message"),
    [
        (["in"], {"photo": "x.png"}, "--output x.png is one file for 3 photos"),
        (["in"], {"photo": "-"}, "--output - is one file"),
        (["in"], {"mask": "m.png"}, "--save-mask m.png is one file"),
        (["in/a.png"], {"mask": "-"}, "--save-mask cannot go to stdout"),
        (["in/a.png"], {"photo": "x.png", "format": "jpeg"}, "its name says png"),
        (["in/a.png"], {"photo": "file"}, "--output file is a file whose name tells no format"),
        (
            ["in/a.png"],
            {"photo": "x.gif"},
            r"--output x.gif is the name of a file that cannot be written \(image/gif\)",
        ),
        (
            ["in"],
            {"illumination": "new/x.BMP"},
            "name one of .jpg, .jpeg, .png, .webp, .tif, .tiff, .*, or end it in /",
        ),
    ],
)
def test_places_that_cannot_be_meant(arguments: list[str], wanted: dict[str, str], message: str) -> None:
    Path("file").touch()
    with pytest.raises(RestoreError, match=message):
        targets(arguments, **wanted)


def test_no_two_results_in_one_place() -> None:
    ((name, message),) = problems_of(["in/a.png", "other/a.png"], photo="out")
    assert name == "other/a.png"
    assert "would be written to out/a.png, as is the result of in/a.png" in message
    os.symlink("out", "same")
    assert problems_of(["in/a.png"], photo="out", mask="same", compare=True) == []
    Path("in/a.tif").touch()
    assert [name for name, _ in problems_of(["in/a.png", "in/a.tif"], format="webp")] == ["in/a.tif"]


def test_no_photo_of_the_run_is_written_over_but_by_its_own_result() -> None:
    Path("in/a.tif").touch()
    ((name, message),) = problems_of(["in/a.tif", "in/a.png"], photo="in", format="png")
    assert name == "in/a.tif"
    assert "which is to be restored itself" in message
    assert photos(["in/a.png"], photo="in/a.png") == ["in/a.png"]
    assert photos(["in"], photo="in")[0] == "in/a.png"


def test_results_of_an_earlier_run_that_the_shell_names_too_are_left_out() -> None:
    Path("in/a.restored.png").touch()
    assert photos(["in/a.png", "in/a.restored.png"]) == ["in/a.restored.png"]
    assert photos(["in/a.restored.png", "in/a.png"]) == ["in/a.restored.png"]
    assert photos(["in/a.restored.png"]) == ["in/a.restored.restored.png"]
