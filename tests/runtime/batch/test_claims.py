from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shadowdiffusion.runtime.batch.claims import claim

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from shadowdiffusion.runtime.batch.claims import claim
claim(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_one_holder_at_a_time_and_nothing_stays(tmp_path: Path) -> None:
    target = str(tmp_path / "a.png")
    first = claim(target)
    assert first is not None
    assert claim(target) is None
    other = claim(str(tmp_path / "b.png"))
    assert other is not None
    other.release()
    first.release()
    again = claim(target)
    assert again is not None
    again.release()
    assert names(tmp_path) == []


def test_the_claim_of_a_killed_process_is_free_and_its_remains_are_removed(tmp_path: Path) -> None:
    target = str(tmp_path / "a.png")
    kept = [".a.png.0123abcd.tmpx", ".a.png.notrandom.tmp", ".b.png.0123abcd.tmp", ".a.png.01234567.tmp.jpg"]
    for name in [*kept, ".a.png.0123abcd.tmp", ".a.mask.png.0123abcd.tmp"]:
        (tmp_path / name).touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, target], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert claim(target) is None
        holder.send_signal(signal.SIGKILL)
    assert ".a.png.lock" in names(tmp_path)
    mine = claim(target, str(tmp_path / "a.mask.png"), str(tmp_path / "elsewhere" / "x.png"))
    assert mine is not None
    mine.release()
    assert names(tmp_path) == sorted(kept)


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        claim(str(tmp_path / "gone" / "a.png"))
