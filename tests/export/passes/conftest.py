"""Denoisers of several kinds, as float32 graphs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from export.graph import export_denoiser
from export.passes import time_table
from export.precision.mixed import single_graph
from runtime.bundle.folder import DEFAULT_BUNDLE, Bundle
from tests.export.conftest import randomise
from tests.export.passes.graphs import Network
from training.denoiser import Denoiser, DenoiserConfig

ATTENTIVE = DenoiserConfig(base=8, multipliers=(1, 2, 3), blocks=1, groups=4, attention=(1, 2), patch=1)


@pytest.fixture(scope="session")
def attentive() -> Network:
    denoiser = Denoiser(ATTENTIVE)
    randomise(denoiser, 3)
    graph, rows = time_table.apply(export_denoiser(denoiser), [300])
    return Network(graph, {"row": rows})


@pytest.fixture(params=["random", "attention", "trained"])
def denoiser(request: pytest.FixtureRequest, bundle: Bundle) -> Network:
    """Random weights, random weights with attention on two levels, and the weights that ship."""
    if request.param == "attention":
        attentive: Network = request.getfixturevalue("attentive")
        return attentive
    path = DEFAULT_BUNDLE if request.param == "trained" else bundle.path
    rows = np.load(path / "denoiser.rows.npy")
    return Network(single_graph(onnx.load_model(path / "denoiser.onnx")), {"row": rows[len(rows) // 2, None]})
