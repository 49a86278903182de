"""What is recorded of one kind of growth, in one line of `scaling.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.distribution import Distribution
from shadowdiffusion.benchmarks.measurement.line import Line
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import ModelFacts

KIND = "scaling"
Axis = Literal["pixels", "batch", "steps", "threads", "processes"]
UNITS: dict[str, str] = {
    "pixels": "pixels of an image",
    "batch": "images at once",
    "steps": "steps",
    "threads": "threads",
    "processes": "processes at once, one thread and one image each",
}


class Point(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """amount: of what the axis counts. ms: until everything is restored. psnr: dB against the float32 reference
    sampler, worst over the images; None for other processes, which do what a loop with one thread does.
    """

    amount: int
    ms: Distribution
    psnr: float | None


class ScalingRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One axis of one model. size, batch, steps, threads: of every point, but for what the axis changes.

    line: ms over the amount; over 1 / amount for threads, where the intercept is what threads do not share. None for
    fewer than three points, and for processes. noisy: by amount, spreads that are wider than allowed; not empty only
    in a record that was forced.
    """

    header: Header
    model: ModelFacts
    contestant: str
    device: Literal["cpu", "cuda"]
    axis: Axis
    size: int
    batch: int
    steps: int
    threads: int
    rounds: int
    warm_up: int
    points: list[Point]
    line: Line | None
    noisy: dict[str, float]
    format_version: Literal[1] = 1

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same measurement."""
        return self.model.name, self.model.weights, self.contestant, self.device, self.axis, self.size, self.steps


def newest(records: Iterable[ScalingRecord]) -> list[ScalingRecord]:
    """The last record of every axis; a noisy one only where there is no other."""
    found: dict[tuple[object, ...], ScalingRecord] = {}
    for record in records:
        if record.key not in found or found[record.key].noisy or not record.noisy:
            found[record.key] = record
    return list(found.values())
