"""Denoisers of several kinds, as float32 graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from shadowdiffusion.export.passes import time_table
from shadowdiffusion.export.precision.mixed import single_graph
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE, Bundle
from tests.export.passes.graphs import Network


@pytest.fixture(scope="session")
def attentive(attentive: ModelProto) -> Network:
    graph, rows = time_table.apply(attentive, [300])
    return Network(graph, {"row": rows})


@pytest.fixture(params=["random", "attention", "trained"])
def denoiser(request: pytest.FixtureRequest, bundle: Bundle) -> Network:
    """Random weights, random weights with attention on two levels, and the weights that ship."""
    if request.param == "attention":
        network: Network = request.getfixturevalue("attentive")
        return network
    path = DEFAULT_BUNDLE if request.param == "trained" else bundle.path
    rows = np.load(path / "denoiser.rows.npy")
    return Network(single_graph(onnx.load_model(path / "denoiser.onnx")), {"row": rows[len(rows) // 2, None]})
