from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.runtime.commands.command_line import Call, Run
from tests.runtime.commands.processes import Start, starter


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return partial(Run, capfd, monkeypatch)


@pytest.fixture
def start(bundle: Path) -> Start:
    return starter(bundle)
