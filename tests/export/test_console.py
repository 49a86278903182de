"""A stop is a stop, whatever a library makes of it, and leaves with the code the shell expects."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deadlines import LONGEST

ROOT = Path(__file__).resolve().parents[2]
LOST = """
try:
    signal.raise_signal(number)
except BaseException as error:
    raise ExportError("could not export") from error
"""
STOP = """
def waits():
    frame, names = sys._current_frames()[threading.main_thread().ident], []
    while frame and len(names) < 3:
        frame, names = frame.f_back, [*names, frame.f_code.co_name]
    return names == ["wait", "wait", "in_background"]

def stop_when_waiting():
    while not waits():
        time.sleep(0.01)
    os.kill(os.getpid(), number)

"""
ABANDONED = """
threading.Thread(target=stop_when_waiting).start()
try:
    in_background(lambda: time.sleep(600))
finally:
    print("cleaned")
"""
CANCELLED = """
threading.Thread(target=stop_when_waiting).start()
cancelled = threading.Event()
in_background(lambda: cancelled.wait() and print("cleaned", flush=True), cancelled.set)
"""
FAILING = """
in_background(lambda: 1 / 0)
"""


def script(body: str, number: int) -> subprocess.CompletedProcess[str]:
    head = "import os, signal, sys, threading, time\nfrom shadowdiffusion.export.background import in_background\n"
    head += "from shadowdiffusion.export.commands.console import one_line_errors\n"
    head += f"from shadowdiffusion.export.errors import ExportError\nnumber = {number}\n"
    head += STOP + "with one_line_errors():"
    text = head + body.replace("\n", "\n    ")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("body", "printed"), [(LOST, ""), (ABANDONED, "cleaned\n"), (CANCELLED, "cleaned\n")])
def test_stop_ends_the_work(body: str, printed: str, number: int) -> None:
    """torch.export reports whatever was raised within it as a failure of its own; other work cannot be cancelled."""
    done = script(body, number)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, printed, "stopped: nothing was written\n")


def test_error_of_background_work_is_its_own() -> None:
    done = script(FAILING, signal.SIGTERM)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
