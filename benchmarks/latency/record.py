"""What is recorded of a race of whole restorations, in one line of `latency.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from shadowdiffusion.benchmarks.measurement.distribution import Distribution, Ratio, ratio
from shadowdiffusion.benchmarks.measurement.machine import Header
from shadowdiffusion.benchmarks.models.subject import ModelFacts

KIND = "latency"
IMAGES: Final = "images"
PHOTO: Final = "photo"
"""Scopes: working images through the loop, from host memory to host memory; a decoded photo through the Restorer."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One contestant that was timed.

    name, title, parent, exact, ours: as `benchmarks.baselines.setting.Contestant` has them; parent is the contestant
    to which this one adds what its title says. samples: ms per restoration of the whole batch, in order of the rounds,
    which all entries of a record share: divide them round by round. ms: their statistics. psnr: worst dB over the
    images against the float32 reference sampler, 200 = identical; the peak is 1. device_mib: device memory that it
    took from its preparation to the end of its first run; None on a CPU. joules: of the whole device per image; None
    where NVML does not say.
    """

    name: str
    title: str
    parent: str | None
    exact: bool
    ours: bool
    samples: list[float]
    ms: Distribution
    psnr: float
    device_mib: float | None
    joules: float | None


class LatencyRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One race: all contestants in one process, taking turns in every round.

    scope: IMAGES or PHOTO. size: side in pixels of the working images, which are square; for a photo its long side.
    photo: [width, height] of the photo, None for working images. batch: images per restoration. steps: of the sampler.
    threads: of the CPU, for everybody. device: "cpu" or "cuda". warm_up, rounds: before the first that counts, and
    those that count. pause: seconds of rest before every turn. compile_mode: of torch.compile. host_mib: peak resident
    memory of the process with all contestants in it (`memory` measures them apart). failures: contestants without an
    entry, and why. noisy: entries whose spread is wider than allowed; not empty only in a record that was forced.
    """

    header: Header
    model: ModelFacts
    scope: Literal["images", "photo"]
    device: Literal["cpu", "cuda"]
    size: int
    photo: tuple[int, int] | None
    batch: int
    steps: int
    threads: int
    warm_up: int
    rounds: int
    pause: float
    compile_mode: str
    entries: list[Entry]
    host_mib: float
    failures: dict[str, str]
    noisy: dict[str, float]
    format_version: Literal[1] = 1

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two records the same measurement."""
        return self.model.name, self.model.weights, self.scope, self.device, self.size, self.batch, self.steps

    def entry(self, name: str) -> Entry | None:
        """One contestant, None if it was not timed."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def speedup(self, of: str, over: str) -> Ratio | None:
        """Time of `over` divided by that of `of`, None unless both were timed."""
        mine, other = self.entry(of), self.entry(over)
        return None if mine is None or other is None else ratio(other.samples, mine.samples)

    def images_per_second(self, name: str) -> float | None:
        """By the median, None if it was not timed."""
        entry = self.entry(name)
        return None if entry is None else 1e3 * self.batch / entry.ms.p50

    @property
    def best(self) -> Entry | None:
        """The fastest of ours that is exact."""
        return min((each for each in self.entries if each.ours and each.exact), key=lambda e: e.ms.p50, default=None)

    @property
    def fastest(self) -> Entry | None:
        """The fastest of ours, whatever its precision."""
        return min((each for each in self.entries if each.ours), key=lambda e: e.ms.p50, default=None)


def quiet(record: LatencyRecord) -> LatencyRecord:
    """The record without the entries that spread too wide, which are then among the failures."""
    return msgspec.structs.replace(
        record,
        entries=[entry for entry in record.entries if entry.name not in record.noisy],
        failures=record.failures | {name: f"times spread by {spread:.0%}" for name, spread in record.noisy.items()},
        noisy={},
    )


def newest(records: Iterable[LatencyRecord]) -> list[LatencyRecord]:
    """The last record of every measurement; a noisy one only where there is no other."""
    found: dict[tuple[object, ...], LatencyRecord] = {}
    for record in records:
        if record.key not in found or found[record.key].noisy or not record.noisy:
            found[record.key] = record
    return list(found.values())
