"""`shadowdiffusion restore` in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deadlines import LONGEST
from tests.runtime.tiny import load_pixels, picture, save

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., "subprocess.Popen[Any]"]
"""Starts `shadowdiffusion restore` with these words, after the Python code `first`."""


def starter(bundle: Path) -> Start:
    """A Start on this bundle."""

    def begin(*words: object, first: str = "", **options: Any) -> subprocess.Popen[Any]:
        code = f"{first}\nfrom shadowdiffusion.runtime.commands.cli import main\nmain()"
        command = [sys.executable, "-c", code, "restore", *map(str, words), "--bundle", str(bundle), "--threads", "1"]
        usual: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": heed_signals}
        return subprocess.Popen(command, cwd=ROOT, **usual | options)

    return begin


def heed_signals() -> None:
    """What starts programs in the background, and these tests with them, may have told them to ignore signals."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def finish(process: subprocess.Popen[Any], data: bytes | None = None) -> tuple[int, bytes, str]:
    """Exit code, stdout, and stderr, in which no traceback belongs."""
    out, err = process.communicate(data, timeout=LONGEST)
    text = (err or b"").decode()
    assert "Traceback" not in text
    return process.returncode, out or b"", text


def photos(folder: Path, count: int, size: tuple[int, int] = (9, 9)) -> Path:
    """A new folder of small photos."""
    folder.mkdir()
    for index in range(count):
        save(folder / f"{index:03}.png", picture(*size, seed=index))
    return folder


def whole_results(folder: Path) -> set[str]:
    """The names of the results in a folder, after decoding each."""
    names = {name for name in os.listdir(folder) if not name.startswith(".")}
    for name in names:
        assert load_pixels(folder / name).ndim == 3
    return names
