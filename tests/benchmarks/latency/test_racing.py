"""Who may race, and for how long."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shadowdiffusion.benchmarks.baselines.setting import Contestant, Setting, Unavailable
from shadowdiffusion.benchmarks.latency.racing import LEAST, MOST, admit, effort_within, one_line, worst_psnr

CPU = torch.device("cpu")


def contestant(name: str) -> Contestant:
    def prepare(setting: Setting) -> None:
        raise AssertionError

    return Contestant(name, "a title", prepare)  # type: ignore[arg-type]


def test_what_is_wrong_missing_or_broken_does_not_race() -> None:
    def missing() -> None:
        raise Unavailable("not installed:\n  get it")

    def broken() -> None:
        raise RuntimeError("crashed")

    prepared = [
        (contestant("right"), lambda: lambda: 60.0),
        (contestant("wrong"), lambda: lambda: 19.9),
        (contestant("nan"), lambda: lambda: float("nan")),
        (contestant("missing"), missing),
        (contestant("broken"), broken),
    ]
    said: list[str] = []
    found = admit(prepared, lambda result: result, CPU, said.append)  # type: ignore[arg-type]
    assert set(found.runs) == {"right"}
    assert found.psnr == {"right": 60.0}
    assert found.device_mib == {"right": None}
    assert found.failures["wrong"] == "its result is 19.9 dB from the reference, 20 dB are needed"
    assert found.failures["missing"] == "not installed: get it"
    assert found.failures["broken"] == "RuntimeError: crashed"
    assert "nan" in found.failures
    assert "no broken: RuntimeError: crashed" in said


def test_rounds_fit_into_the_time() -> None:
    effort = effort_within(60, ms_per_round=100, spread=0.1, turns=2, pause=0.05)
    assert effort.most == MOST
    assert effort.seconds == pytest.approx(48)
    slow = effort_within(60, ms_per_round=5000, spread=0.1, turns=0, pause=0)
    assert (slow.least, slow.most, slow.warm_up, slow.attempts) == (9, 9, 2, 1)
    late = effort_within(-5, ms_per_round=5000, spread=0.1, turns=0, pause=0)
    assert (late.least, late.most, late.warm_up) == (LEAST, LEAST, 1)
    quick = effort_within(60, ms_per_round=1, spread=0.1, turns=0, pause=0)
    assert (quick.most, quick.attempts, quick.seconds) == (MOST, 3, 16)


def test_the_worst_image_counts() -> None:
    truth = np.zeros((2, 3, 4, 4), np.float32)
    result = truth.copy()
    result[1] += 0.1
    assert worst_psnr(result, truth) == pytest.approx(20, abs=1e-3)


def test_long_messages_are_cut() -> None:
    assert one_line("a\n b") == "a b"
    assert len(one_line("word " * 1000)) == 300
