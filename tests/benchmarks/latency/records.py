"""Races and parts with figures that are easy to check."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shadowdiffusion.benchmarks.latency.record import Entry, LatencyRecord
from shadowdiffusion.benchmarks.latency.stage_record import Stage, StageRecord
from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.measurement.machine import Header, Machine
from shadowdiffusion.benchmarks.models.subject import ModelFacts

HEADER = Header(
    "2026-01-02T03:04:05+00:00",
    "python -m benchmarks latency",
    "0123456789abcdef",
    False,
    "fedcba9876543210",
    False,
    Machine("Linux", "a CPU", 4, None, {"python": "3.12", "torch": "2.13", "onnxruntime": "1.32.0"}),
)
MODEL = ModelFacts("paper", "paper", "shadow", "random, seed 0", 55_500_000, 20_000_000, "ab" * 32)


def entry(
    name: str,
    samples: Sequence[float],
    *,
    ours: bool = True,
    exact: bool = True,
    parent: str | None = None,
    psnr: float = 120.0,
) -> Entry:
    """A contestant with these times in ms."""
    times = list(samples)
    return Entry(name, f"about {name}", parent, exact, ours, times, distribution(times), psnr, None, None)


def race(entries: Sequence[Entry], **changes: object) -> LatencyRecord:
    """Images of 256 pixels, one at once, 5 steps on 4 threads."""
    made = LatencyRecord(
        header=HEADER,
        model=MODEL,
        scope="images",
        device="cpu",
        size=256,
        photo=None,
        batch=1,
        steps=5,
        threads=4,
        warm_up=2,
        rounds=len(entries[0].samples),
        pause=0.05,
        compile_mode="inductor, default",
        entries=list(entries),
        host_mib=1000.0,
        failures={},
        noisy={},
    )
    return msgspec.structs.replace(made, **changes)


def parts(**changes: object) -> StageRecord:
    """A loop of 100 ms: the prior 20, five steps of 15, 5 in no part; 30 around it."""

    def stage(name: str, times: int, ms: float) -> Stage:
        return Stage(name, f"about {name}", times, distribution([ms]))

    made = StageRecord(
        header=HEADER,
        model=MODEL,
        contestant="bundle",
        device="cpu",
        size=256,
        photo=(4000, 3000),
        steps=5,
        threads=4,
        rounds=1,
        warm_up=1,
        psnr=120.0,
        whole=distribution([100.0]),
        in_loop=[stage("prior", 1, 20.0), stage("denoiser step", 5, 15.0)],
        around=[stage("full size", 1, 30.0), stage("mask finding", 0, 21.0)],
        unexplained=0.05,
        noisy={},
    )
    return msgspec.structs.replace(made, **changes)
