from __future__ import annotations

from functools import partial

import pytest

from tests.runtime.commands.command_line import Call, Run


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    return partial(Run, capfd, monkeypatch)
