"""The mask head as its own graph: together with the rest it is the denoiser, and the noise needs nothing of it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes import mask_head, time_table
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE
from tests.export.conftest import images, run


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 32, 48)])
def test_both_parts_together_are_the_denoiser(graphs: dict[str, ModelProto], shape: tuple[int, int, int]) -> None:
    whole, rows = time_table.apply(graphs["denoiser"], [400])
    denoiser, head = mask_head.split(whole)
    feed = images(*shape) | {"row": rows}
    expected, first = run(whole, feed), run(denoiser, feed)
    shadow = run(head, {"features": first["features"]})["shadow"]
    np.testing.assert_allclose(first["noise"], expected["noise"], rtol=0, atol=1e-6 * np.abs(expected["noise"]).max())
    np.testing.assert_allclose(shadow, expected["shadow"], rtol=0, atol=1e-6)
    assert expected["shadow"].std() > 0.01


def test_no_weight_is_stored_twice(graphs: dict[str, ModelProto]) -> None:
    parts = mask_head.split(graphs["denoiser"])
    weights = [{item.name for item in part.graph.initializer if item.name.endswith(".weight")} for part in parts]
    assert not weights[0] & weights[1]
    assert weights[0] | weights[1] == {
        item.name for item in graphs["denoiser"].graph.initializer if item.name.endswith(".weight")
    }
    assert all("mask_" in name for name in weights[1])


def test_the_shipped_bundle_has_its_head_apart() -> None:
    denoiser, head = (onnx.load_model(DEFAULT_BUNDLE / name) for name in ("denoiser.onnx", "mask_head.onnx"))
    rows = np.load(DEFAULT_BUNDLE / "denoiser.rows.npy")
    found = run(denoiser, images(1, 64, 96) | {"row": rows[3, None]})
    shadow = run(head, {"features": found["features"]})["shadow"]
    assert shadow.shape == (1, 1, 64, 96)
    assert 0 <= shadow.min() < shadow.max() <= 1


def test_only_a_whole_denoiser_can_be_split(graphs: dict[str, ModelProto]) -> None:
    for graph in (graphs["prior"], mask_head.split(graphs["denoiser"])[0]):
        with pytest.raises(ExportError, match="no denoiser"):
            mask_head.split(graph)


def test_a_head_that_hangs_on_more_is_refused(graphs: dict[str, ModelProto]) -> None:
    tangled = ModelProto()
    tangled.CopyFrom(graphs["denoiser"])
    convolution = next(node for node in tangled.graph.node if "mask_convs.1.weight" in node.input)
    stem = next(node for node in tangled.graph.node if "stem.weight" in node.input)
    following = next(node for node in tangled.graph.node if convolution.output[0] in node.input)
    following.input[0] = "tangle"
    total = onnx.helper.make_node("Add", [convolution.output[0], stem.output[0]], ["tangle"])
    tangled.graph.node.insert(list(tangled.graph.node).index(following), total)
    with pytest.raises(ExportError, match="--without mask-head"):
        mask_head.split(tangled)
