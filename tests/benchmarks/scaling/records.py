"""Growth with figures that are easy to check."""

from __future__ import annotations

from collections.abc import Mapping

from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.scaling.record import Axis, Point, ScalingRecord
from shadowdiffusion.benchmarks.scaling.run import line
from tests.benchmarks.latency.records import HEADER, MODEL


def growth(axis: Axis, ms: Mapping[int, float]) -> ScalingRecord:
    """Times by amount, of 256 pixels, 5 steps, 4 threads."""
    points = [Point(amount, distribution([time]), 120.0) for amount, time in ms.items()]
    fitted = line(axis, points)
    return ScalingRecord(HEADER, MODEL, "bundle", "cpu", axis, 256, 1, 5, 4, 9, 3, points, fitted, {})
