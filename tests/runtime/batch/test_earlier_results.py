"""Results of an earlier run that lie among the photos are passed over, as long as their photos are there too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.flight import restore_all
from shadowdiffusion.runtime.batch.outcome import Status
from shadowdiffusion.runtime.batch.stopping import Stop
from tests.runtime.batch.fakes import FakeRestorer, jobs_of, photo_at, worker


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo_at(Path("in/a.png"), 1)
    photo_at(Path("in/sub/b.png"), 2)


def run(*arguments: str, output: str, overwrite: bool = False) -> dict[str, Status]:
    """What became of each photo."""
    jobs = jobs_of(*arguments, output=Path(output))
    outcomes = list(restore_all(jobs, worker(FakeRestorer(), overwrite=overwrite), 2, Stop()))
    assert len(outcomes) == len(jobs)
    assert not [outcome.error for outcome in outcomes if outcome.error]
    return {outcome.input: outcome.status for outcome in outcomes}


def test_results_below_the_photos_are_passed_over() -> None:
    run("in", output="in/first")
    photo_at(Path("in/first/own.png"), 3)
    assert run("in", output="second") == {
        "in/a.png": "restored",
        "in/sub/b.png": "restored",
        "in/first/a.png": "result",
        "in/first/sub/b.png": "result",
        "in/first/own.png": "restored",
    }
    assert set(run("in/**/a.png", output="third").values()) == {"restored", "result"}


def test_results_of_results_are_passed_over_too() -> None:
    run("in", output="in/first")
    run("in/first", output="in/second")
    statuses = run("in", output="elsewhere")
    assert {path for path, status in statuses.items() if status == "restored"} == {"in/a.png", "in/sub/b.png"}
    assert list(statuses.values()).count("result") == 4


def test_results_alone_are_photos_for_a_second_run() -> None:
    run("in", output="first")
    shutil.rmtree("in")
    assert set(run("first", output="second").values()) == {"restored"}


def test_results_that_are_named_are_meant() -> None:
    run("in", output="in/first")
    named = "in/first/sub/b.png"
    for arguments in (("in", named), (named, "in")):
        statuses = run(*arguments, output=f"second/{Path(arguments[0]).stem}")
        assert [path for path, status in statuses.items() if status == "result"] == ["in/first/a.png"]


def test_an_edited_result_is_a_photo() -> None:
    run("in", output="in/first")
    photo_at(Path("in/first/a.png"), 9)
    statuses = run("in", output="second")
    assert (statuses["in/first/a.png"], statuses["in/first/sub/b.png"]) == ("restored", "result")


def test_what_was_restored_in_place_is_done() -> None:
    assert set(run("in", output="in", overwrite=True).values()) == {"restored"}
    assert set(run("in", output="in").values()) == {"skipped"}
    assert set(run("in", output="elsewhere").values()) == {"restored"}
