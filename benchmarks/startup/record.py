"""What is recorded of new processes, in one line of `startup.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.distribution import Distribution
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import ModelFacts

KIND = "startup"


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ms from starting a process to its end."""

    name: str
    title: str
    ms: Distribution


class StartPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ms of one part of the first photo, in the order in which they happen."""

    name: str
    ms: Distribution


class StartupRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """New processes with files in the system's cache, in turns.

    photo: [width, height]. psnr: dB of the first photo against the float32 reference sampler, both with 8 bits.
    parts: of the first photo; noisy: processes whose spread is wider than allowed, in a record that was forced.
    """

    header: Header
    model: ModelFacts
    device: Literal["cpu", "cuda"]
    photo: tuple[int, int]
    steps: int
    threads: int
    rounds: int
    starts: list[Start]
    parts: list[StartPart]
    modules: int
    psnr: float
    noisy: dict[str, float]
    format_version: Literal[1] = 1

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same measurement."""
        return self.model.name, self.model.weights, self.device, self.photo, self.steps, self.threads


def newest(records: Iterable[StartupRecord]) -> list[StartupRecord]:
    """The last record of every model; a noisy one only where there is no other."""
    found: dict[tuple[object, ...], StartupRecord] = {}
    for record in records:
        if record.key not in found or found[record.key].noisy or not record.noisy:
            found[record.key] = record
    return list(found.values())
