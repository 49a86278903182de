"""Energy of a GPU, as its driver counts it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from shadowdiffusion.benchmarks.measurement.nvml import total_energy


def joules(call: Callable[[], object], uuid: str, seconds: float) -> float | None:
    """Joules per call of the whole GPU with this UUID, over calls for so long; None where the driver does not count."""
    before = total_energy(uuid)
    if before is None:
        return None
    calls, started = 0, perf_counter()
    while not calls or perf_counter() - started < seconds:
        call()
        calls += 1
    after = total_energy(uuid)
    return None if after is None else (after - before) / calls
