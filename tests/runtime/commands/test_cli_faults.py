"""What goes wrong around the command line: killed, interrupted, out of disk, several at once, pipes that break."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.deadlines import LONGEST
from tests.runtime.commands.processes import ROOT, Start, finish, photos, whole_results
from tests.runtime.tiny import picture, save

KILL = """
import os, signal
before, calls = os.{call}, 0
def killed(*arguments, **options):
    global calls
    calls += 1
    if calls == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments, **options)
os.{call} = killed
"""


@pytest.mark.parametrize("call", ["fsync", "link", "unlink"])
def test_killed_while_writing_it_leaves_no_part_and_goes_on(start: Start, tmp_path: Path, call: str) -> None:
    source, out = photos(tmp_path / "in", 5), tmp_path / "out"
    code, *_ = finish(start(source, "-o", out, "--jobs", 1, first=KILL.format(call=call)))
    assert code == -signal.SIGKILL
    assert whole_results(out) == {"000.png", "001.png"}
    assert len(os.listdir(out)) == 2 + 3  # notes, a temporary file, a lock
    code, text, errors = finish(start(source, "-o", out, "--json"))
    assert (code, errors) == (0, "")
    statuses = [json.loads(line)["status"] for line in text.splitlines()]
    assert sorted(statuses) == ["restored"] * 3 + ["skipped"] * 2
    assert len(whole_results(out)) == 5
    assert len(os.listdir(out)) == 5 + 1  # and the notes


HELD = """
import os, sys, threading, time
from shadowdiffusion.runtime.batch.stopping import Stop
before, lock, calls = os.fsync, threading.Lock(), 0

def held(file):
    global calls
    with lock:
        calls += 1
        last = calls > 4
    while last and not Stop.asked:
        time.sleep(0.01)
    before(file)

def now(self, number=None, before=Stop.now):
    before(self, number)
    Stop.asked = True

Stop.asked, Stop.now, os.fsync = False, now, held
"""
"""From the fifth on, nothing is finished before the process is asked to stop."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_stops_soon_and_says_how_far_it_came(start: Start, tmp_path: Path, number: int) -> None:
    source, out = photos(tmp_path / "in", 20), tmp_path / "out"
    process = start(source, "-o", out, first=HELD)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    process.send_signal(number)
    code, _, errors = finish(process)
    assert code == 128 + number
    done = whole_results(out)
    assert 4 <= len(done) <= 4 + 3
    assert errors == f"interrupted: {len(done)} of 20 photos are done, run again for the rest\n"
    assert len(os.listdir(out)) == len(done) + 1
    code, text, _ = finish(start(source, "-o", out))
    assert (code, text.count(b"(done before)"), len(whole_results(out))) == (0, len(done), 20)


WAITING = """
import select, sys
before = select.select
def waiting(*arguments):
    print("waiting", file=sys.stderr, flush=True)
    return before(*arguments)
select.select = waiting
"""


def test_interrupted_while_stdin_is_silent(start: Start) -> None:
    with start("-", first=WAITING, stdin=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(LONGEST) == 130
        assert process.stderr.read().endswith(b"interrupted: 0 of 1 photos are done, run again for the rest\n")


def test_two_processes_share_the_work(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 40), tmp_path / "out"
    runs = [finish(process) for process in [start(source, "-o", out, "--json") for _ in range(2)]]
    assert [(code, errors) for code, _, errors in runs] == [(0, "")] * 2
    records = [json.loads(line) for _, text, _ in runs for line in text.splitlines()]
    assert len(records) == 80
    made = [record["output"] for record in records if record["status"] == "restored"]
    assert len(made) == len(set(made)) == 40  # nothing twice
    assert {record["status"] for record in records} <= {"restored", "skipped"}
    assert len(whole_results(out)) == 40
    assert len(os.listdir(out)) == 40 + 1


def test_a_full_disk_costs_only_what_does_not_fit(start: Start, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, size in (("a.png", 9), ("b.png", 90), ("c.png", 9), ("d.jpg", 200), ("e.tif", 120), ("f.webp", 300)):
        save(source / name, np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    code, text, errors = finish(start(source, "-o", out, preexec_fn=limit))
    assert code == 1
    assert whole_results(out) == {"a.png", "c.png"}
    assert len(os.listdir(out)) == 2 + 1
    assert text.count(b" -> ") == 2
    failed, summary = errors.splitlines()[:-1], errors.splitlines()[-1]
    assert len(failed) == 4
    assert all("cannot write" in line for line in failed)
    assert summary == "error: 4 of 6 photos failed"
    assert finish(start(source, "-o", out))[0] == 0


def test_through_pipes(start: Start, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.jpg", picture(33, 65))
    assert finish(start(photo))[0] == 0
    code, result, errors = finish(start("-", stdin=subprocess.PIPE), photo.read_bytes())
    assert (code, errors) == (0, "")
    assert result == (tmp_path / "a.restored.jpg").read_bytes()
    code, result, errors = finish(start(photo, "-o", "-", "--format", "png"))
    assert (code, errors, result[:8]) == (0, "", b"\x89PNG\r\n\x1a\n")
    code, result, errors = finish(start("-", "-o", tmp_path / "b.png", stdin=subprocess.PIPE), photo.read_bytes())
    assert code == 0
    assert result.startswith(b"- -> ")
    for data, message in (
        (b"", "stdin is empty"),
        (b"hello", "stdin is not a PNG"),
        (photo.read_bytes()[:900], "stdin is"),
    ):
        code, result, errors = finish(start("-", stdin=subprocess.PIPE), data)
        assert (code, result, errors.count("\n")) == (1, b"", 1)
        assert message in errors
    code, result, errors = finish(start("-", "--json", stdin=subprocess.DEVNULL))
    assert (code, result) == (2, b"")
    assert "cannot both go to stdout" in errors


def test_nobody_reads_stdout(start: Start, tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 20)
    reader, writer = os.pipe()
    process = start(source, "-o", tmp_path / "out", stdout=writer)
    os.close(writer)
    os.close(reader)  # long before the first line
    code, _, errors = finish(process)
    assert (code, errors) == (128 + signal.SIGPIPE, "")
    assert 1 <= len(whole_results(tmp_path / "out")) <= 1 + 3
    reader, writer = os.pipe()
    os.close(reader)
    process = start(source / "000.png", "-o", "-", stdout=writer)
    os.close(writer)
    assert finish(process)[::2] == (128 + signal.SIGPIPE, "")


def test_stdout_is_full(start: Start, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    for words in (["-o", "-"], ["-o", tmp_path / "out"], ["-o", tmp_path / "out", "--json"]):
        with open("/dev/full", "wb") as full:
            code, _, errors = finish(start(photo, *words, stdout=full))
        assert (code, errors) == (1, "error: cannot write to stdout: No space left on device\n")
    assert whole_results(tmp_path / "out") == {"a.png"}


def on_terminal(start: Start, *words: object) -> tuple[int, bytes, str]:
    """Exit code, stdout, and what a terminal on stderr shows."""
    master, terminal = pty.openpty()
    process = start(*words, stderr=terminal)
    os.close(terminal)
    shown = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other side is closed
                return
            shown.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    code, out, _ = finish(process)
    reader.join(LONGEST)
    os.close(master)
    return code, out, shown.decode()


def test_a_bar_on_the_terminal_and_nothing_of_it_elsewhere(start: Start, tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 6), tmp_path / "out"
    (source / "bad.png").touch()
    code, text, shown = on_terminal(start, source, "-o", out)
    assert code == 1
    assert text.count(b" -> ") == 6
    assert all(line.endswith(b"s)") for line in text.splitlines()[:-1])
    assert text.splitlines()[-1].startswith(b"restored by ")
    assert "7 of 7" in shown
    assert "left" in shown
    assert "error: " in shown
    code, text, shown = on_terminal(start, source / "000.png", "-o", out / "x.png")
    assert (code, text.count(b" -> ")) == (0, 1)
    assert "000.png" in shown
    code, text, shown = on_terminal(start, source, "-o", out, "-q")
    assert (code, text) == (1, b"")
    assert shown.count("\n") == 2


def test_a_photo_does_not_go_to_a_terminal(start: Start, tmp_path: Path) -> None:
    photo = save(tmp_path / "a.png", picture(9, 9))
    master, terminal = pty.openpty()
    process = start(photo, "-o", "-", stdout=terminal)
    os.close(terminal)
    code, _, errors = finish(process)
    os.close(master)
    assert code == 2
    assert "does not go to a terminal" in errors


def test_help_of_restore_loads_nothing_heavy() -> None:
    words = [sys.executable, "-X", "importtime", "-m", "runtime", "restore", "--help"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in run.stderr.splitlines()}
    assert "shadowdiffusion.runtime.commands.restore_options" in loaded
    assert not loaded & {"numpy", "onnxruntime", "pyvips", "msgspec", "rich", "shadowdiffusion.runtime.batch"}
