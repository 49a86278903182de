"""The denoiser without its mask head, and in two parts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from export.errors import ExportError
from export.passes import mask_head
from export.passes.mask_head import split
from runtime.onnxruntime_networks import FEATURES
from tests.export.passes.graphs import Network, images, kinds, run


def test_the_noise_alone_is_the_same_from_a_smaller_graph(denoiser: Network) -> None:
    changed = mask_head.apply(denoiser.model)
    onnx.checker.check_model(changed)
    assert [value.name for value in changed.graph.output] == ["noise"]
    assert kinds(denoiser.model).count("Conv") - kinds(changed).count("Conv") == 4
    feed = images(denoiser.model, 1, 32, 16) | denoiser.others
    np.testing.assert_array_equal(run(changed, feed)[0], run(denoiser.model, feed)[0])


def test_two_parts_compute_what_the_whole_does(denoiser: Network) -> None:
    halves = split(denoiser.model)
    assert halves is not None
    trunk, head = halves
    for part in halves:
        onnx.checker.check_model(part)
    feed = images(denoiser.model, 2, 16, 48) | denoiser.others
    noise, shadow = run(denoiser.model, feed)
    found, features = run(trunk, feed)
    np.testing.assert_array_equal(found, noise)
    np.testing.assert_array_equal(run(head, {FEATURES: features})[0], shadow)
    weights = [{tensor.name for tensor in part.graph.initializer if tensor.dims} for part in halves]
    convolutions = [{node.input[1] for node in part.graph.node if node.op_type == "Conv"} for part in halves]
    assert len(convolutions[1]) == 4
    assert weights[0].isdisjoint(convolutions[1])
    assert weights[1].isdisjoint(convolutions[0])


def test_a_head_that_reads_the_mask_too_cannot_be_split_off(denoiser: Network) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(denoiser.model)
    for node in model.graph.node:
        node.output[:] = ["pure" if name == "shadow" else name for name in node.output]
    model.graph.node.append(helper.make_node("Mul", ["pure", "mask"], ["shadow"]))
    assert split(model) is None


def test_a_graph_without_noise_is_no_denoiser() -> None:
    with pytest.raises(ExportError, match="no output 'noise'"):
        mask_head.apply(onnx.ModelProto())
