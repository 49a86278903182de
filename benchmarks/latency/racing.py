"""Contestants made ready, checked against the reference, and raced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter, sleep
from typing import Any

import numpy as np
import torch

from shadowdiffusion.benchmarks.baselines.setting import Array, Contestant, Unavailable
from shadowdiffusion.benchmarks.measurement.energy import joules
from shadowdiffusion.benchmarks.measurement.timing import Effort, Race, WallClock, race
from shadowdiffusion.export.verify import psnr

Report = Callable[[str], None]
Run = Callable[[], Any]

PAUSE = 0.05
"""Seconds of rest before every turn on a CPU: the threads of an ONNX Runtime session spin on after a run."""
LEAST_DB = 20.0
"""Below this a result is not a rounded version of the reference, but wrong, and is not timed."""
LEAST, MOST = 5, 200
"""Rounds of a race of whole restorations, which may take seconds each."""


@dataclass
class Admitted:
    """Contestants that compute the right thing: what each runs, dB, and ms of a run that is no longer the first."""

    runs: dict[str, Run] = field(default_factory=dict)
    psnr: dict[str, float] = field(default_factory=dict)
    ms: dict[str, float] = field(default_factory=dict)
    device_mib: dict[str, float | None] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def admit(
    prepared: Sequence[tuple[Contestant, Callable[[], Run]]],
    compare: Callable[[Any], float],
    device: torch.device,
    report: Report,
) -> Admitted:
    """Prepare everybody and compare a first result with the truth; LEAST_DB are needed to race."""
    admitted = Admitted()
    for contestant, prepare in prepared:
        name = contestant.name
        report(f"preparing {name}: {contestant.title}")
        before = _device_mib(device)
        try:
            run = prepare()
            found = compare(run())
            if not found >= LEAST_DB:  # nor is NaN
                raise Unavailable(f"its result is {found:.1f} dB from the reference, {LEAST_DB:g} dB are needed")
        except Unavailable as error:
            admitted.failures[name] = one_line(error)
        except Exception as error:  # one that breaks, in whatever way, must not cost the times of the others
            admitted.failures[name] = one_line(f"{type(error).__name__}: {error}")
        if name in admitted.failures:
            report(f"no {name}: {admitted.failures[name]}")
            continue
        admitted.device_mib[name] = None if before is None else (_device_mib(device) or 0.0) - before
        started = perf_counter()
        run()
        admitted.runs[name], admitted.psnr[name] = run, found
        admitted.ms[name] = 1e3 * (perf_counter() - started)
        report(f"{name}: {found:.1f} dB, about {admitted.ms[name]:.4g} ms")
    return admitted


def timed(runs: Mapping[str, Run], effort: Effort, device: torch.device) -> Race:
    """Race what each contestant runs, from the host's point of view."""
    synchronise = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    clock = WallClock(synchronise)
    return race({name: clock.prepare([run]) for name, run in runs.items()}, effort)


def energy(runs: Mapping[str, Run], uuid: str | None, batch: int, seconds: float) -> dict[str, float | None]:
    """Joules per image of each contestant, one after the other, each for so long; None where NVML does not say."""
    found = dict[str, float | None]()
    for name, run in runs.items():
        taken = None if uuid is None else joules(run, uuid, seconds)
        found[name] = None if taken is None else taken / batch
        sleep(0.0 if taken is None else 1.0)  # the GPU's power falls slowly
    return found


def effort_within(seconds: float, ms_per_round: float, spread: float, turns: int, pause: float) -> Effort:
    """As much effort as fits into so many seconds, for rounds that take `ms_per_round` and rests in `turns` turns.

    A fifth of the rounds is for warming up; a race that takes more than a third of the time is not repeated.
    """
    round_seconds = ms_per_round / 1e3 + turns * pause
    rounds = max(1, int(seconds / max(round_seconds, 1e-6)))
    most = max(LEAST, min(MOST, int(0.8 * rounds)))
    attempts = 3 if rounds >= 3 * MOST else 1
    return Effort(min(20, most), most, 0.8 * seconds / attempts, max(1, min(60, rounds // 5)), attempts, spread, pause)


def worst_psnr(result: Array, truth: Array) -> float:
    """dB of the worst image of a batch."""
    return min(psnr(np.ascontiguousarray(one), two) for one, two in zip(result, truth, strict=True))


def one_line(error: object) -> str:
    """A message without its line breaks, cut where it becomes an essay."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _device_mib(device: torch.device) -> float | None:
    """Memory of the device in use, by everybody; None on a CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return (total - free) / 2**20
