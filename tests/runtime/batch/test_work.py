from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shadowdiffusion.runtime.batch.claims import claim
from shadowdiffusion.runtime.batch.masks import Partners
from shadowdiffusion.runtime.batch.notes import NOTES
from shadowdiffusion.runtime.batch.plan import Job
from shadowdiffusion.runtime.batch.stopping import Stop
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.photo import read_photo
from tests.runtime.batch.fakes import SETTINGS, FakeRestorer, jobs_of, photo_at, restored, worker
from tests.runtime.tiny import load_pixels


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return jobs_of(photo_at(tmp_path / "in/a.png"), output=tmp_path / "out")[0]


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_photo_is_restored_once(job: Job, tmp_path: Path) -> None:
    restorer = FakeRestorer()
    first = restored(job, restorer)
    assert (first.status, first.error, first.width, first.height) == ("restored", None, 8, 6)
    assert set(first.timings) == {"read", "diffusion", "write"}
    assert np.array_equal(load_pixels(tmp_path / "out/a.png"), 255 - load_pixels(tmp_path / "in/a.png"))
    assert names(tmp_path / "out") == [NOTES, "a.png"]
    assert restored(job, restorer).status == "skipped"
    assert restored(job, restorer, overwrite=True).status == "skipped"
    assert restorer.calls == 1
    assert restored(job, restorer, force=True).status == "restored"
    assert restorer.calls == 2


def test_what_does_not_change_the_result_does_not_matter(job: Job, tmp_path: Path) -> None:
    restored(job)
    os.utime(job.source, (1, 1))
    os.utime(tmp_path / "out/a.png", (1, 1))
    os.rename(tmp_path / "in", tmp_path / "elsewhere")
    os.rename(tmp_path / "out", tmp_path / "results")
    moved = jobs_of(tmp_path / "elsewhere/a.png", output=tmp_path / "results")[0]
    assert restored(moved).status == "skipped"


def test_a_result_that_is_gone_is_made_again(job: Job, tmp_path: Path) -> None:
    restored(job)
    os.unlink(tmp_path / "out/a.png")
    assert restored(job).status == "restored"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 5}, "it exists already, made with steps 2"),
        ({"strength": 0.5}, "made with strength 1.0"),
        ({"working_size": None}, "made with working_size 48"),
        ({"bundle": "other"}, "made from another bundle"),
    ],
)
def test_a_result_of_other_settings_is_not_lost(
    job: Job, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    restored(job)
    before = (tmp_path / "out/a.png").read_bytes()
    settings = replace(SETTINGS, **change)  # type: ignore[arg-type]
    for force in (False, True):
        outcome = restored(job, settings=settings, force=force)
        assert outcome.status == "failed"
        assert message in (outcome.error or "")
    assert (tmp_path / "out/a.png").read_bytes() == before
    assert restored(job, settings=settings, overwrite=True).status == "restored"
    assert restored(job, settings=settings).status == "skipped"


def test_a_file_that_is_not_ours_is_not_lost(job: Job, tmp_path: Path) -> None:
    restored(job)
    edited = photo_at(tmp_path / "out/a.png", seed=5).read_bytes()
    assert "changed since it was made" in (restored(job, force=True).error or "")
    assert (tmp_path / "out/a.png").read_bytes() == edited
    os.unlink(tmp_path / "out" / NOTES)
    assert "it exists already (--overwrite replaces it)" in (restored(job).error or "")
    photo_at(tmp_path / "in/a.png", seed=9)
    assert restored(job, overwrite=True).status == "restored"
    photo_at(tmp_path / "in/a.png", seed=10)
    assert "made from another photo" in (restored(job).error or "")


def test_a_file_that_appears_meanwhile_is_not_lost(job: Job, tmp_path: Path) -> None:
    def appear() -> None:
        (tmp_path / "out/a.png").write_bytes(b"mine")

    outcome = restored(job, FakeRestorer(during=appear))
    assert (outcome.status, (tmp_path / "out/a.png").read_bytes()) == ("failed", b"mine")
    assert names(tmp_path / "out") == ["a.png"]


def test_the_photo_itself_is_replaced_only_on_demand_and_only_once(tmp_path: Path) -> None:
    photo = photo_at(tmp_path / "a.png")
    before = load_pixels(photo)
    (job,) = jobs_of(photo, output=photo)
    assert "it is the photo itself (--overwrite replaces it)" in (restored(job).error or "")
    assert np.array_equal(load_pixels(photo), before)
    assert restored(job, overwrite=True).status == "restored"
    assert np.array_equal(load_pixels(photo), 255 - before)
    assert restored(job, overwrite=True).status == "skipped"  # it would be restored twice
    assert restored(job).status == "skipped"
    photo_at(photo, seed=3)
    assert restored(job).status == "failed"
    assert restored(job, overwrite=True).status == "restored"


def test_masks_count_as_input_and_are_never_written(job: Job, tmp_path: Path) -> None:
    mask = photo_at(tmp_path / "m.png")
    restorer = FakeRestorer()
    assert restored(job, restorer, masks=Partners(str(mask), "mask")).status == "restored"
    assert restorer.arguments["mask"].pixels.shape == (6, 8, 3)
    assert restored(job, masks=Partners(str(mask), "mask")).status == "skipped"
    assert "made from another mask" in (restored(job).error or "")
    photo_at(mask, seed=1)
    assert "made from another mask" in (restored(job, masks=Partners(str(mask), "mask")).error or "")
    over = jobs_of(tmp_path / "in/a.png", output=mask)[0]
    before = mask.read_bytes()
    assert "it is the mask" in (restored(over, masks=Partners(str(mask), "mask"), overwrite=True).error or "")
    assert mask.read_bytes() == before


def test_extras_are_made_where_they_are_missing(tmp_path: Path) -> None:
    photo = photo_at(tmp_path / "a.png")
    extra = str(tmp_path / "extra")
    (plain,) = jobs_of(photo)
    (full,) = jobs_of(photo, mask=extra, illumination=extra, compare=True)
    restorer = FakeRestorer()
    assert restored(plain, restorer).extras == {}
    assert restorer.arguments["with_mask"] is False
    inode = os.stat(tmp_path / "a.restored.png").st_ino
    outcome = restored(full, restorer)
    assert outcome.status == "restored"
    assert set(outcome.extras) == {"mask", "illumination", "compare"}
    assert restorer.arguments["with_mask"] is True
    assert os.stat(tmp_path / "a.restored.png").st_ino == inode
    assert names(tmp_path) == [NOTES, "a.compare.jpg", "a.png", "a.restored.png", "extra"]
    assert names(tmp_path / "extra") == [NOTES, "a.illumination.png", "a.mask.png"]
    assert load_pixels(tmp_path / "extra/a.illumination.png").dtype == np.uint16
    assert restored(full, restorer).status == "skipped"
    os.unlink(tmp_path / "a.compare.jpg")
    assert restored(full, restorer).extras == {"compare": str(tmp_path / "a.compare.jpg")}


def test_quality_matters_to_lossy_files_only(tmp_path: Path) -> None:
    jobs = jobs_of(photo_at(tmp_path / "a.png", size=(64, 64)), photo_at(tmp_path / "b.jpg", size=(64, 64)))
    low = replace(SETTINGS, quality=20)
    assert [restored(job).status for job in jobs] == ["restored", "restored"]
    size = (tmp_path / "b.restored.jpg").stat().st_size
    assert [restored(job, settings=low).status for job in jobs] == ["skipped", "failed"]
    assert restored(jobs[1], settings=low, overwrite=True).settings["quality"] == 20
    assert (tmp_path / "b.restored.jpg").stat().st_size < size / 2


def test_whatever_goes_wrong_is_the_outcome_of_one_photo(job: Job, tmp_path: Path) -> None:
    def fails(error: BaseException) -> FakeRestorer:
        def fail() -> None:
            raise error

        return FakeRestorer(during=fail)

    assert restored(job, fails(RestoreError("no"))).error == "no"
    assert restored(job, fails(ValueError("two\nlines"))).error == "unexpected ValueError: two lines"
    assert "does not fit into memory" in (restored(job, fails(MemoryError())).error or "")
    assert names(tmp_path / "out") == []
    os.unlink(job.source)
    assert restored(job).error == f"{job.source} does not exist"


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    photo = photo_at(tmp_path / "a.png")
    (tmp_path / "file").touch()
    assert "Not a directory" in (restored(jobs_of(photo, output=tmp_path / "file/out")[0]).error or "")
    (tmp_path / "b.png").mkdir()
    assert "is a folder" in (restored(Job(str(photo), "a.png", {"photo": str(tmp_path / "b.png")})).error or "")


def test_folders_and_files_without_permission(unprivileged: Path) -> None:
    photo, secret = photo_at(unprivileged / "a.png"), photo_at(unprivileged / "b.png")
    secret.chmod(0)
    (unprivileged / "out").mkdir(mode=0o555)
    restorer = FakeRestorer()
    assert "Permission denied" in (restored(jobs_of(photo, output=unprivileged / "out")[0], restorer).error or "")
    assert "Permission denied" in (restored(jobs_of(photo, output=unprivileged / "out/new")[0], restorer).error or "")
    assert f"cannot read {secret}: Permission denied" in (restored(jobs_of(secret)[0], restorer).error or "")
    assert names(unprivileged / "out") == []
    assert restorer.calls == 0  # nothing is computed that could not be written


def test_records_that_cannot_be_written_are_noted(job: Job, tmp_path: Path) -> None:
    (tmp_path / "out" / NOTES).mkdir(parents=True)
    outcome = restored(job)
    assert outcome.status == "restored"
    assert outcome.notes == [f"{tmp_path}/out/a.png will not be known as done: Is a directory"]
    assert read_photo(tmp_path / "out/a.png").pixels.shape == (6, 8, 3)


def test_asked_to_stop_the_photo_in_hand_is_dropped(job: Job, tmp_path: Path) -> None:
    stop = Stop()
    restorer = FakeRestorer(during=stop.now)
    assert restored(job, restorer, stop=stop).status == "dropped"
    assert names(tmp_path / "out") == []
    assert restored(job, restorer, stop=stop).status == "dropped"
    assert restorer.calls == 1


def test_what_another_process_is_at_is_left_to_it(job: Job, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    theirs = claim(job.targets["photo"])
    assert theirs is not None
    restorer = FakeRestorer()
    assert restored(job, restorer).status == "busy"
    stop = Stop()
    waiting = worker(restorer, stop=stop)
    stop.now()
    assert waiting(job, patient=True).status == "dropped"
    theirs.release()
    assert worker(restorer)(job, patient=True).status == "restored"
    assert restorer.calls == 1
