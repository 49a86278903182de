"""A straight line through measured costs: what one more unit costs, what is paid anyway, and whether it is a line."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

GROWTH = 1.10
"""The cost per unit of the largest may be this many times that of any smaller one; beyond, growth is super-linear."""


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """cost = intercept + slope * units, by least squares over relative errors.

    r2: the part of the costs' variance that the line explains. growth: cost per unit of the largest over the smallest
    cost per unit of the others.
    """

    slope: float
    intercept: float
    r2: float
    growth: float

    @property
    def superlinear(self) -> bool:
        """Whether the largest costs more per unit than it should."""
        return self.growth > GROWTH


def fit(units: Sequence[float], costs: Sequence[float]) -> Line | None:
    """The line through at least three points of different, positive units and costs; None for fewer.

    Every point counts by its relative error: timings err by a part of themselves.
    """
    if len(set(units)) < 3:
        return None
    x, y = np.asarray(units, np.float64), np.asarray(costs, np.float64)
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    around = float(np.sum((y - y.mean()) ** 2))
    flat = around <= 1e-12 * float(np.sum(y**2))
    explained = 1.0 if flat else 1 - float(np.sum((y - intercept - slope * x) ** 2)) / around
    per_unit, largest = y / x, int(np.argmax(x))
    growth = per_unit[largest] / np.delete(per_unit, largest).min()
    return Line(float(slope), float(intercept), explained, float(growth))
