"""What range of an activation is quantised: everything seen, nearly everything, or what loses least information."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.precision.networks import Feed, session

if TYPE_CHECKING:
    from onnx import ModelProto

Method = Literal["minmax", "percentile", "entropy"]
METHODS: tuple[Method, ...] = ("minmax", "percentile", "entropy")
PERCENTILE = 99.99
BINS = 4096
LEVELS = 128
STRIDE = 16
Range = tuple[float, float]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Histogram:
    """Counts int64[BINS] of a tensor's values between -limit and limit, and the least and the largest of them."""

    counts: npt.NDArray[np.int64]
    limit: float
    least: float
    largest: float


def histograms(
    graph: ModelProto, feeds: Sequence[Feed], names: Sequence[str], progress: Progress
) -> dict[str, Histogram]:
    """The histogram of every named float32 tensor of the graph, over all feeds."""
    from onnx import ModelProto, TensorProto, helper

    watched = ModelProto()
    watched.CopyFrom(graph)
    known = {value.name for value in (*graph.graph.input, *graph.graph.output)}
    inner = [name for name in names if name not in known]
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in inner)
    running = session(watched)
    given = {value.name for value in graph.graph.input}
    computed = [name for name in names if name not in given]

    def values(feed: Feed) -> dict[str, Any]:
        return {name: feed[name] for name in names if name in given} | dict(
            zip(computed, running.run(computed, feed), strict=True)
        )

    bounds = dict.fromkeys(names, (np.inf, -np.inf))
    for index, feed in enumerate(feeds):
        progress(index / len(feeds) / 2, "ranges")
        for name, array in values(feed).items():
            bounds[name] = (min(bounds[name][0], float(array.min())), max(bounds[name][1], float(array.max())))
    limits = {name: max(-least, largest, 1e-12) for name, (least, largest) in bounds.items()}
    counts = {name: np.zeros(BINS, np.int64) for name in names}
    for index, feed in enumerate(feeds):
        progress(0.5 + index / len(feeds) / 2, "histograms")
        for name, array in values(feed).items():
            counts[name] += np.histogram(array, BINS, (-limits[name], limits[name]))[0]
    return {name: Histogram(counts[name], limits[name], *bounds[name]) for name in names}


def clipped(histogram: Histogram, method: Method) -> Range:
    """The range of the values to be quantised; it holds zero."""
    least, largest = min(0.0, histogram.least), max(0.0, histogram.largest)
    if method == "minmax":
        return least, largest
    edges = np.linspace(-histogram.limit, histogram.limit, BINS + 1)
    if method == "percentile":
        share = np.cumsum(histogram.counts) / histogram.counts.sum()
        low = edges[int(np.searchsorted(share, 1 - PERCENTILE / 100))]
        high = edges[min(BINS, int(np.searchsorted(share, PERCENTILE / 100)) + 1)]
    else:
        magnitudes = histogram.counts[BINS // 2 :] + histogram.counts[: BINS // 2][::-1]
        high = edges[BINS // 2 + _least_divergence(magnitudes)]
        low = -high
    return max(least, min(0.0, float(low))), min(largest, max(0.0, float(high)))


def _least_divergence(counts: npt.NDArray[np.int64]) -> int:
    """How many of the bins of magnitudes to keep so that LEVELS levels have the least Kullback-Leibler divergence.

    TensorRT's calibration (Migacz 2017): what is cut off is added to the last bin kept.
    """
    best, found = math.inf, len(counts)
    for kept in range(LEVELS, len(counts) + 1, STRIDE):
        true = counts[:kept].astype(np.float64)
        true[-1] += counts[kept:].sum()
        filled = counts[:kept] > 0
        starts = np.arange(LEVELS) * kept // LEVELS
        mass, bins = np.add.reduceat(counts[:kept], starts), np.add.reduceat(filled, starts)
        spread = np.repeat(mass / np.maximum(bins, 1), np.diff(starts, append=kept)) * filled
        spread /= max(spread.sum(), 1)
        true /= true.sum()
        both = (true > 0) & (spread > 0)
        lost = true[(true > 0) & (spread == 0)].sum()  # mass at bins without a level counts in full
        divergence = float(np.sum(true[both] * np.log(true[both] / spread[both]))) + 100 * float(lost)
        if divergence < best:
            best, found = divergence, kept
    return found
