"""Whether what was raced before is slower, or less exact, now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.record import KIND, Entry, LatencyRecord, newest
from shadowdiffusion.benchmarks.measurement.distribution import CONFIDENCE, RESAMPLES, Ratio
from shadowdiffusion.benchmarks.measurement.results import read

LOSS, ROUNDING = 1.0, 100.0
"""dB that a contestant may lose, where it is not as exact as rounding allows all the same."""


@dataclass(frozen=True)
class Change:
    """One contestant in one race. ratio: its time in the second set over that in the first."""

    race: LatencyRecord
    before: Entry
    after: Entry
    ratio: Ratio

    def regression(self, tolerance: float) -> str | None:
        """What is worse, None if nothing is: time by more than the tolerance for certain, or dB."""
        if self.ratio.low > 1 + tolerance:
            return "slower"
        if self.after.psnr < min(self.before.psnr - LOSS, ROUNDING):
            return "less exact"
        return None


def changes(first: Path, second: Path) -> list[Change]:
    """Everything that is in both. Raises BenchmarkError if nothing is, and for results that cannot be read."""
    before, after = ({(slug, race.key): race for slug, race in _races(path)} for path in (first, second))
    found = [
        Change(after[key], one, two, ratio(two.samples, one.samples))
        for key in before.keys() & after.keys()
        for one in before[key].entries
        if (two := after[key].entry(one.name))
    ]
    if not found:
        raise BenchmarkError(f"{first} and {second} have no race in common: measure the same model, sizes and steps")
    return sorted(found, key=lambda change: (repr(change.race.key), change.before.name))


def missing(first: Path, second: Path) -> list[str]:
    """What the first set has and the second has not."""
    after = {(slug, race.key): race for slug, race in _races(second)}
    found = []
    for slug, race in _races(first):
        other = after.get((slug, race.key))
        found += [f"{title(race)}: {e.name}" for e in race.entries if other is None or other.entry(e.name) is None]
    return found


def title(race: LatencyRecord) -> str:
    """One line that names a race."""
    return f"{race.model.name} {race.scope} {race.size} pixels, batch {race.batch}, {race.steps} steps, {race.device}"


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """median(above) / median(below) of samples of two processes, which share no rounds: each is drawn from by itself.

    The interval is the percentile bootstrap (Efron 1979); the same data give the same interval.
    """
    random = np.random.default_rng(0)

    def medians(samples: Sequence[float]) -> np.ndarray:
        drawn = random.integers(len(samples), size=(RESAMPLES, len(samples)))
        found: np.ndarray = np.median(np.asarray(samples, np.float64)[drawn], axis=1)
        return found

    low, high = np.quantile(medians(above) / medians(below), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Ratio(float(np.median(above) / np.median(below)), float(low), float(high))


def _races(path: Path) -> Iterator[tuple[str, LatencyRecord]]:
    """(device, race) of a file, or of all devices of a folder that holds results/."""
    if not path.is_dir():
        files = [path]
    elif not (files := sorted((path / "results").glob(f"*/{KIND}.jsonl"))):
        raise BenchmarkError(f"{path} holds no results/*/{KIND}.jsonl: measure with -o {path}")
    for file in files:
        slug = "" if file == path else file.parent.name
        yield from ((slug, race) for race in newest(read(file, LatencyRecord)))
