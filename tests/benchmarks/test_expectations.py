"""The regression gate: what can be counted is what was counted when it was last agreed to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shadowdiffusion.benchmarks.models.subject import Subject
from tests.benchmarks.counting import EXPECTATIONS, counted

COMMAND = "python -m tests.benchmarks.counting"


def flat(found: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every figure by its path."""
    if isinstance(found, dict):
        for key, value in found.items():
            yield from flat(value, f"{name}: {key}" if name else key)
    else:
        yield name, found


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET", "0") in ("", "0"), reason="the driver made in Python interprets")
def test_counts_are_those_expected(subject: Subject, tmp_path: Path) -> None:
    expected, found = dict(flat(json.loads(EXPECTATIONS.read_text()))), dict(flat(counted(tmp_path)))
    changed = [
        f"{name}: {found.get(name)}, expected {expected.get(name)}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    ]
    advice = f"if that is as it should be, `{COMMAND}` agrees to it"
    assert not changed, "\n".join([*changed, advice])


def test_figures_are_told_by_their_path() -> None:
    assert dict(flat({"a": {"b": 1, "c": [2]}, "d": 3})) == {"a: b": 1, "a: c": [2], "d": 3}
