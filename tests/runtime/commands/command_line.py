"""The command line, called in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shadowdiffusion.runtime.commands.cli import main


class Run:
    """One call of the command line in this process: its exit code and what it printed."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
        monkeypatch.setattr(sys, "argv", ["shadowdiffusion", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            main()
        self.code = caught.value.code or 0
        self.out, self.err = capfd.readouterr()


Call = Callable[..., Run]


def refused(run: Run, *words: str, code: int = 2) -> None:
    """One line on stderr with these words, and nothing else."""
    assert run.code == code
    assert run.out == ""
    assert run.err.count("\n") == 1
    assert run.err.startswith("error: ")
    for word in words:
        assert word in run.err


def names(folder: Path) -> list[str]:
    """What a folder shows."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
