"""What is recorded of the parts of a restoration, in one line of `stages.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.distribution import Distribution
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import ModelFacts

KIND = "stages"


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a restoration, alone.

    times: how often it runs per photo, 0 for what only some photos need. ms: of one time.
    """

    name: str
    title: str
    times: int
    ms: Distribution


class StageRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parts of one restoration of one image.

    Fields as in `LatencyRecord`. contestant: whose networks run. psnr: dB of the loop's result. whole: ms of the loop
    at the working size, mask given. in_loop: its parts. around: what a photo needs besides, at full size, and what
    only some photos need. unexplained: the part of the loop's median to which the medians of its parts do not add up;
    negative where they add up to more. noisy: parts whose spread is wider than allowed; not empty only in a record
    that was forced.
    """

    header: Header
    model: ModelFacts
    contestant: str
    device: Literal["cpu", "cuda"]
    size: int
    photo: tuple[int, int]
    steps: int
    threads: int
    rounds: int
    warm_up: int
    psnr: float
    whole: Distribution
    in_loop: list[Stage]
    around: list[Stage]
    unexplained: float
    noisy: dict[str, float]
    format_version: Literal[1] = 1

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same measurement."""
        return self.model.name, self.model.weights, self.contestant, self.device, self.size, self.photo, self.steps


def quiet(record: StageRecord) -> StageRecord | None:
    """The record, None if any of its parts spreads too wide: shares of a whole need every part."""
    return None if record.noisy else record


def newest(records: Iterable[StageRecord]) -> list[StageRecord]:
    """The last record of every loop; a noisy one only where there is no other."""
    found: dict[tuple[object, ...], StageRecord] = {}
    for record in records:
        if record.key not in found or found[record.key].noisy or not record.noisy:
            found[record.key] = record
    return list(found.values())
