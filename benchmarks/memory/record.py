"""What is recorded of the memory of restorations, in one line of `memory.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.line import Line
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import ModelFacts

KIND = "memory"
Axis = Literal["pixels", "batch"]


class Peak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a process of its own. amount: of what the axis counts. loaded_mib: when the bundle was open, before the first
    image; peak_mib: when it was restored. Resident memory of the host, MiB.
    """

    amount: int
    loaded_mib: float
    peak_mib: float


class MemoryRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One axis of one model. size, batch: of every point, but for what the axis changes. line: peak MiB over amounts;
    None for fewer than three.
    """

    header: Header
    model: ModelFacts
    device: Literal["cpu", "cuda"]
    axis: Axis
    size: int
    batch: int
    steps: int
    threads: int
    points: list[Peak]
    line: Line | None
    format_version: Literal[1] = 1

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same measurement."""
        return self.model.name, self.model.weights, self.device, self.axis, self.size, self.batch, self.threads


def newest(records: Iterable[MemoryRecord]) -> list[MemoryRecord]:
    """The last record of every axis."""
    return list({record.key: record for record in records}.values())
