"""A second signal ends the process at once and leaves nothing behind, whatever it was doing."""

from __future__ import annotations

import os
import pty
import signal
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.notes import NOTES
from tests.deadlines import LONGEST
from tests.runtime.commands.processes import Start, finish, photos, whole_results
from tests.runtime.video.test_video import film

BLOCKED = """
import os, sys, threading
from shadowdiffusion.runtime.batch.stopping import Stop

def blocked(*arguments, **options):
    os.write(2, b"blocked\\n")
    threading.Event().wait()

def now(self, number=None, before=Stop.now):
    before(self, number)
    os.write(2, b"stopping\\n")

Stop.now = now
{place} = blocked
"""
WRITING = BLOCKED.format(place="os.fsync")
RESTORING = BLOCKED.format(place="import_module('shadowdiffusion.runtime.loop.host_loop').HostLoop.restore").replace(
    "import os", "from importlib import import_module\nimport os", 1
)


@pytest.mark.parametrize(
    ("first", "number"),
    [(WRITING, signal.SIGINT), (WRITING, signal.SIGTERM), (WRITING, signal.SIGHUP), (RESTORING, signal.SIGINT)],
    ids=["writing-INT", "writing-TERM", "writing-HUP", "restoring-INT"],
)
def test_a_second_signal_leaves_nothing_behind(start: Start, tmp_path: Path, first: str, number: int) -> None:
    source, out = photos(tmp_path / "in", 3), tmp_path / "out"
    with start(source, "-o", out, "--jobs", 1, first=first) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"blocked\n"
        made = 2 if first is WRITING else 1
        assert len(os.listdir(out)) == made  # a lock, and what is being written
        process.send_signal(number)
        assert process.stderr.readline() == b"stopping\n"
        assert len(os.listdir(out)) == made  # nothing can be finished
        process.send_signal(number)
        assert process.wait(LONGEST) == 128 + number
        assert os.listdir(out) == []
        assert process.stderr.read() == b""
    assert finish(start(source, "-o", out))[::2] == (0, "")
    assert len(whole_results(out)) == 3


def test_a_video_is_no_exception(start: Start, tmp_path: Path) -> None:
    video, out = film(tmp_path / "a.mp4", frames=2), tmp_path / "out"
    first = RESTORING.replace(
        "shadowdiffusion.runtime.loop.host_loop').HostLoop.restore", "shadowdiffusion.runtime.video.frames')._frame"
    )
    with start(video, "-o", out, first=first) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"blocked\n"
        assert len(os.listdir(out)) == 2
        process.send_signal(signal.SIGQUIT)
        assert process.wait(LONGEST) == 128 + signal.SIGQUIT
        assert os.listdir(out) == []


def test_sigquit_ends_at_once_and_leaves_nothing_behind(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 1), tmp_path / "out"
    with start(source, "-o", out, first=WRITING) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"blocked\n"
        process.send_signal(signal.SIGQUIT)
        assert process.wait(LONGEST) == 128 + signal.SIGQUIT
        assert os.listdir(out) == []


def test_what_was_taken_over_is_removed_too(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 1), tmp_path / "out"
    for last in (signal.SIGKILL, signal.SIGQUIT):
        with start(source, "-o", out, first=WRITING) as process:
            assert process.stderr is not None
            assert process.stderr.readline() == b"blocked\n"
            assert len(os.listdir(out)) == 2
            process.send_signal(last)
            process.wait(LONGEST)
    assert os.listdir(out) == []


def test_the_lock_of_a_process_that_was_killed_after_its_work_goes(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 1), tmp_path / "out"
    killed = "import os\nos.unlink = lambda path: os.kill(os.getpid(), 9)"
    assert finish(start(source, "-o", out, first=killed))[0] == -signal.SIGKILL
    assert whole_results(out) == {"000.png"}
    assert len(os.listdir(out)) == 4  # notes, lock, and the other name of the result
    code, text, _ = finish(start(source, "-o", out))
    assert (code, b"done before" in text) == (0, True)
    assert sorted(os.listdir(out)) == [NOTES, "000.png"]


def test_the_cursor_of_the_terminal_comes_back(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 3), tmp_path / "out"
    master, terminal = pty.openpty()
    process = start(source, "-o", out, stderr=terminal, first=WRITING)
    os.close(terminal)
    shown = b""
    while b"blocked" not in shown:
        shown += os.read(master, 65536)
    process.send_signal(signal.SIGQUIT)
    assert process.wait(LONGEST) == 128 + signal.SIGQUIT
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    assert os.listdir(out) == []
