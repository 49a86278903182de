"""Statistics of repeated timings, apart from any clock: percentiles, spread, and ratios with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

RESAMPLES = 1000
"""Of the bootstrap."""
CONFIDENCE = 0.95
SPREAD = 0.10
"""The middle half of the samples may lie this far apart, as part of the median; beyond it nothing is reported."""
WINDOW, DRIFT = 5, 0.03
"""Warm-up is over once two windows of that many samples, one after the other, have medians this close."""


class Distribution(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`count` samples in the unit of the samples; spread: distance of the quartiles as part of the median."""

    count: int
    min: float
    p50: float
    p90: float
    p99: float
    spread: float


class Ratio(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ratio of medians, and the interval that holds it with CONFIDENCE."""

    value: float
    low: float
    high: float


def distribution(samples: Sequence[float]) -> Distribution:
    """Percentiles (linear interpolation) of at least one positive sample."""
    p25, p50, p75, p90, p99 = (float(value) for value in np.percentile(samples, (25, 50, 75, 90, 99)))
    return Distribution(len(samples), float(min(samples)), p50, p90, p99, (p75 - p25) / p50)


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """median(above) / median(below) of samples taken in the same rounds; the same data give the same interval.

    The interval is the percentile bootstrap (Efron 1979) over rounds: a round is drawn as a pair, so that what
    disturbed both of a round does not count as a difference between them.
    """
    pairs = np.array([above, below], dtype=np.float64)
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(RESAMPLES, pairs.shape[1]))
    upper, lower = np.median(pairs[:, drawn], axis=2)
    low, high = np.quantile(upper / lower, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    medians = np.median(pairs, axis=1)
    return Ratio(float(medians[0] / medians[1]), float(low), float(high))


def steady(samples: Sequence[float]) -> bool:
    """Whether the last samples no longer drift: the end of warm-up."""
    if len(samples) < 2 * WINDOW:
        return False
    before, after = np.median(samples[-2 * WINDOW : -WINDOW]), np.median(samples[-WINDOW:])
    return bool(abs(after - before) <= DRIFT * before)
