"""Ranges of activations: what the histograms hold, and what each method cuts off."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from shadowdiffusion.export.precision.ranges import BINS, Histogram, clipped, histograms
from tests.export.precision.test_mixed import graph, weight


def histogram(values: object) -> Histogram:
    array = np.asarray(values, np.float32)
    limit = float(np.abs(array).max())
    counts = np.histogram(array, BINS, (-limit, limit))[0]
    return Histogram(counts, limit, float(array.min()), float(array.max()))


def test_histograms_hold_every_value_of_every_feed() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    model: onnx.ModelProto = graph(nodes, {"w": weight()})
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((1, 4, h, w)).astype(np.float32) * h} for h, w in ((5, 7), (8, 3))]
    found = histograms(model, feeds, ["x", "a", "y"], lambda fraction, phase: None)
    for name, size in (("x", 4 * (35 + 24)), ("a", 4 * (35 + 24)), ("y", 4 * (35 + 24))):
        assert found[name].counts.sum() == size
    everything = np.concatenate([feed["x"].ravel() for feed in feeds])
    assert (found["x"].least, found["x"].largest) == (everything.min(), everything.max())
    assert found["y"].least == 0 < found["a"].limit


def test_minmax_takes_all_and_zero() -> None:
    assert clipped(histogram([0.5, 3.0]), "minmax") == (0.0, 3.0)
    assert clipped(histogram([-2.0, -1.0]), "minmax") == (-2.0, 0.0)


def test_percentile_cuts_a_lone_outlier() -> None:
    values = np.append(np.random.default_rng(0).uniform(-1, 2, 100_000), 50.0)
    low, high = clipped(histogram(values), "percentile")
    assert low == pytest.approx(-1, abs=0.05)
    assert high == pytest.approx(2, abs=0.05)


def test_entropy_cuts_a_long_tail_and_leaves_a_uniform_range() -> None:
    rng = np.random.default_rng(0)
    tailed = np.append(rng.standard_normal(100_000), rng.uniform(-30, 30, 20))
    low, high = clipped(histogram(tailed), "entropy")
    assert 2 < high < 12
    assert -12 < low < -2
    assert clipped(histogram(rng.uniform(-3, 3, 100_000)), "entropy")[1] > 2.9
