"""What is recorded of one kernel at one size: floor, times, ratios and errors, in one line of `kernels.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.distribution import Distribution, Ratio
from shadowdiffusion.benchmarks.measurement.machine import Header

KIND = "kernels"
OURS, COPY, EAGER, COMPILED, NAIVE = "triton", "copy", "eager", "compile", "naive"
"""The contestants: our kernel; a copy that moves as many bytes; PyTorch as its user would write it, eager and through
torch.compile; and the step as a naive loop writes it, which computes everything anew.
"""


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ms per call of one contestant. clock: "device" without the host, "wall" as the caller sees it."""

    contestant: str
    clock: str
    ms: Distribution


class Speedup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Time of a baseline over that of our kernel."""

    over: str
    clock: str
    ratio: Ratio


class Error(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Against the float64 reference, worst over the outputs; relative: in the L2 norm."""

    max_abs: float
    relative: float


class KernelRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kernel at one size.

    bytes: moved by a call if each input is read and each output written once. launches: of our kernel.
    operations: of PyTorch that touch memory, by baseline; each is at least one launch. streaming: the memory's
    bandwidth should be its only limit. copy_bandwidth: GB/s (1e9 bytes) of a large copy, read and written bytes
    counted. calls: sets of inputs per run; warm_up: rounds before the first that counts. failures: baselines that
    did not run or did not agree, and why. noisy: by clock, the spreads of contestants whose times spread too wide; not
    empty only in a record that was forced.
    """

    header: Header
    kernel: str
    variant: str
    images: int
    channels: int
    height: int
    width: int
    bytes: int
    launches: int
    operations: dict[str, int]
    streaming: bool
    copy_bandwidth: float
    calls: int
    warm_up: int
    compile_mode: str
    timings: list[Timing]
    speedups: list[Speedup]
    errors: dict[str, Error]
    failures: dict[str, str]
    noisy: dict[str, dict[str, float]]
    format_version: Literal[1] = 1

    @property
    def clock(self) -> str:
        """The clock that bandwidth is counted by: the first one."""
        return self.timings[0].clock

    @property
    def bandwidth(self) -> float:
        """GB/s of our kernel, by its median."""
        return self.bytes / (1e6 * self.time(OURS).p50)

    @property
    def share(self) -> float:
        """Bandwidth as part of that of a large copy."""
        return self.bandwidth / self.copy_bandwidth

    def time(self, contestant: str) -> Distribution:
        """ms per call by the first clock. Raises KeyError for a contestant that was not timed."""
        for timing in self.timings:
            if (timing.contestant, timing.clock) == (contestant, self.clock):
                return timing.ms
        raise KeyError(contestant)

    def speedup(self, over: str, clock: str | None = None) -> Ratio | None:
        """Against one baseline, None if it was not timed by that clock (None = the first)."""
        for speedup in self.speedups:
            if (speedup.over, speedup.clock) == (over, clock or self.clock):
                return speedup.ratio
        return None


def quiet(record: KernelRecord) -> KernelRecord | None:
    """The record without what noisy clocks timed; None if bandwidth is counted by one of them."""
    if record.clock in record.noisy:
        return None
    return msgspec.structs.replace(
        record,
        timings=[timing for timing in record.timings if timing.clock not in record.noisy],
        speedups=[speedup for speedup in record.speedups if speedup.clock not in record.noisy],
        noisy={},
    )


def newest(records: Iterable[KernelRecord]) -> list[KernelRecord]:
    """The last record of every kernel, variant and size; a noisy one only where there is no other."""
    found: dict[tuple[object, ...], KernelRecord] = {}
    for record in records:
        key = (record.kernel, record.variant, record.images, record.channels, record.height, record.width)
        if key not in found or found[key].noisy or not record.noisy:
            found[key] = record
    return list(found.values())
