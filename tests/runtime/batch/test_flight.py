from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.claims import claim
from shadowdiffusion.runtime.batch.flight import restore_all
from shadowdiffusion.runtime.batch.outcome import Outcome
from shadowdiffusion.runtime.batch.plan import Job
from shadowdiffusion.runtime.batch.stopping import Stop
from tests.deadlines import LONGEST
from tests.runtime.batch.fakes import FakeRestorer, jobs_of, photo_at, worker

ROOT = Path(__file__).resolve().parents[3]


def job(name: str) -> Job:
    return Job(name, name, {"photo": name})


def test_no_more_are_in_hand_than_asked_for_and_all_are_done() -> None:
    lock, together = threading.Lock(), threading.Barrier(3)
    now, most = 0, 0

    def work(job: Job) -> Outcome:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if int(job.source) < 3:
            together.wait(LONGEST)  # three are in hand at once
        with lock:
            now -= 1
        return Outcome(job.source, status="restored")

    outcomes = list(restore_all(map(job, map(str, range(20))), work, 3, Stop()))
    assert sorted(int(outcome.input) for outcome in outcomes) == list(range(20))
    assert most == 3


def test_jobs_are_drawn_only_as_they_are_needed() -> None:
    drawn = 0

    def jobs() -> object:
        nonlocal drawn
        for drawn in range(1, 1001):  # noqa: B007
            yield job("a")

    outcomes = restore_all(jobs(), lambda job: Outcome(job.source, status="restored"), 2, Stop())  # type: ignore[arg-type]
    for _ in range(10):
        next(outcomes)
    assert drawn <= 13
    outcomes.close()  # type: ignore[attr-defined]


def test_asked_to_stop_nothing_is_begun() -> None:
    stop, begun = Stop(), []

    def work(job: Job) -> Outcome:
        begun.append(job.source)
        if len(begun) == 3:
            stop.now()
        return Outcome(job.source, status="restored")

    assert len(list(restore_all(map(job, "abcdefghij"), work, 1, stop))) == len(begun) == 3


def test_what_others_are_at_comes_last(tmp_path: Path) -> None:
    jobs = jobs_of(*(photo_at(tmp_path / f"{name}.png") for name in "abc"), output=tmp_path / "out")
    (tmp_path / "out").mkdir()
    theirs = claim(jobs[0].targets["photo"])
    assert theirs is not None
    restorer = FakeRestorer()
    outcomes = restore_all(jobs, worker(restorer), 1, Stop())
    assert [Path(next(outcomes).input).name for _ in range(2)] == ["b.png", "c.png"]
    threading.Timer(0.3, theirs.release).start()
    assert [(Path(outcome.input).name, outcome.status) for outcome in outcomes] == [("a.png", "restored")]


MANY = """
import os, sys
from pathlib import Path
from shadowdiffusion.runtime.batch.flight import restore_all
from shadowdiffusion.runtime.batch.stopping import Stop
from tests.runtime.batch.fakes import FakeRestorer, jobs_of, worker
folder, restorer = Path(sys.argv[1]), FakeRestorer()

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

sizes = []
jobs = jobs_of(folder / "in", output=folder / "out")
for outcome in restore_all(jobs, worker(restorer), 3, Stop()):
    assert outcome.status == sys.argv[2], outcome
    sizes.append(resident())
print(len(sizes), restorer.calls, sizes[len(sizes) // 10], sizes[-1])
"""


@pytest.mark.slow
def test_ten_thousand_photos_take_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    photo = photo_at(tmp_path / "a.png")
    for index in range(10_000):
        folder = tmp_path / "in" / f"{index % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(photo, folder / f"{index}.png")
    for status, calls in (("restored", 10_000), ("skipped", 0)):
        words = [sys.executable, "-c", MANY, str(tmp_path), status]
        run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
        assert run.returncode == 0, run.stderr
        count, restored, early, late = map(int, run.stdout.split())
        assert (count, restored) == (10_000, calls)
        assert late - early < 24, f"{early} MiB after a tenth, {late} MiB at the end"
