"""The time table: equal to the graph it replaces, at every timestep, size and batch."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import time_table
from tests.export.conftest import images, run

TIMESTEPS = [0, 7, 640, 999]


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 32, 48)])
@pytest.mark.parametrize("index", range(len(TIMESTEPS)))
def test_a_row_replaces_the_timestep(graphs: dict[str, ModelProto], index: int, shape: tuple[int, int, int]) -> None:
    original = graphs["denoiser"]
    folded, rows = time_table.apply(original, TIMESTEPS)
    assert rows.shape[0] == len(TIMESTEPS)
    feed = images(*shape)
    expected = run(original, feed | {"t": np.full(shape[0], TIMESTEPS[index], np.float32)})
    found = run(folded, feed | {"row": rows[index, None]})
    for name in ("noise", "shadow"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-6 * np.abs(expected[name]).max())
    other = run(folded, feed | {"row": rows[index - 1, None]})
    assert np.abs(other["noise"] - expected["noise"]).max() > 1e-3  # the row does matter


def test_nothing_of_the_time_embedding_is_left(graphs: dict[str, ModelProto]) -> None:
    folded, _ = time_table.apply(graphs["denoiser"], TIMESTEPS)
    assert not {"Sin", "Cos", "Gemm"} & {node.op_type for node in folded.graph.node}
    assert sorted(value.name for value in folded.graph.input) == ["image", "mask", "row", "x_t"]
    assert not [tensor.name for tensor in folded.graph.initializer if tensor.name.startswith("embedding.")]


def test_a_graph_is_folded_once(graphs: dict[str, ModelProto]) -> None:
    folded, _ = time_table.apply(graphs["denoiser"], TIMESTEPS)
    with pytest.raises(ExportError, match="no input 't'"):
        time_table.apply(folded, TIMESTEPS)
    with pytest.raises(ExportError, match="no denoiser"):
        time_table.apply(graphs["prior"], TIMESTEPS)


def test_a_timestep_that_meets_the_image_is_refused(graphs: dict[str, ModelProto]) -> None:
    mixed = ModelProto()
    mixed.CopyFrom(graphs["denoiser"])
    next(node for node in mixed.graph.node if node.op_type == "Concat" and "x_t" in node.input).input[-1] = "t"
    with pytest.raises(ExportError, match="--without time-table"):
        time_table.apply(mixed, TIMESTEPS)
