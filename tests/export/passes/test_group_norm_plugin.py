"""Which group normalisations become plugins, and what they take with them; that they compute the same is shown where
the plugins are registered (`tests/export/engines/test_group_norm_plugin.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes import group_norm_plugin, mask_head
from shadowdiffusion.export.passes.group_norm_plugin import MERGE, NAMESPACE, SILU, STATISTICS
from shadowdiffusion.export.precision.int8 import TENSORRT
from shadowdiffusion.export.precision.mixed import mixed_graph, single_graph
from shadowdiffusion.export.precision.quantize import quantized_graph, tensors
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE
from tests.export.passes.graphs import kinds


@pytest.fixture(scope="module")
def trained() -> ModelProto:
    return single_graph(onnx.load_model(DEFAULT_BUNDLE / "denoiser.onnx"))


def makers(model: ModelProto) -> dict[str, Any]:
    return {name: node for node in model.graph.node for name in node.output}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_every_activated_norm_of_the_shipped_denoiser_is_one(trained: ModelProto, precision: Any) -> None:
    model = trained
    if precision in ("fp16", "bf16"):
        model = mixed_graph(trained, precision)
    elif precision == "int8":
        ranges = dict.fromkeys(tensors(trained, False), (-4.0, 4.0))
        model = quantized_graph(mixed_graph(trained), trained, ranges, TENSORRT, frozenset())
    changed = group_norm_plugin.apply(model)
    counts, before = Counter(kinds(changed)), Counter(kinds(model))
    norms = before["InstanceNormalization"]
    assert counts[STATISTICS] == counts[MERGE] == counts[SILU] == norms - 1 == 29
    assert counts["InstanceNormalization"] == 1  # the attention has no activation
    assert counts["Sigmoid"] == before["Sigmoid"] - 29
    assert counts["Add"] == before["Add"] - 29 - 14  # beta, and the time's projection of 14 residual blocks
    if precision != "fp32":
        assert before["Cast"] - counts["Cast"] >= 2 * 28
    made = makers(changed)
    merges = [node for node in changed.graph.node if node.op_type == MERGE]
    assert sum(node.input[4] in made for node in merges) == 14
    for node in changed.graph.node:
        if node.domain == NAMESPACE:
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            assert attributes == {"plugin_namespace": NAMESPACE.encode(), "aot": 1}
    assert [item.domain for item in changed.opset_import].count(NAMESPACE) == 1
    onnx.checker.check_model(changed)


def test_groups_are_the_rows_of_gamma_and_a_norm_without_time_adds_zero(trained: ModelProto) -> None:
    changed = group_norm_plugin.apply(trained)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in changed.graph.initializer}
    merges = [node for node in changed.graph.node if node.op_type == MERGE]
    assert {len(values[node.input[2]]) for node in merges} == {8}
    zeros = [(values[node.input[4]], values[node.input[2]].size) for node in merges if node.input[4] in values]
    assert len(zeros) == 15
    assert all(zero.shape == (1, channels, 1, 1) and not zero.any() for zero, channels in zeros)
    assert all(values[node.input[3]].tolist() == [np.float32(1e-5)] for node in merges)


@pytest.mark.parametrize("obstacle", ["norm read elsewhere", "sigmoid read elsewhere", "another product", "channels"])
def test_what_does_not_fit_stays(trained: ModelProto, obstacle: str) -> None:
    model = ModelProto()
    model.CopyFrom(trained)
    sigmoid = next(node for node in model.graph.node if node.op_type == "Sigmoid")
    norm = sigmoid.input[0]
    product = next(node for node in model.graph.node if node.op_type == "Mul" and sigmoid.output[0] in node.input)
    if obstacle == "norm read elsewhere":
        model.graph.output.append(helper.make_tensor_value_info(norm, TensorProto.FLOAT, ["N", 32, "h", "w"]))
    elif obstacle == "sigmoid read elsewhere":
        model.graph.node.append(helper.make_node("Relu", [sigmoid.output[0]], ["more"]))
    elif obstacle == "another product":
        product.input[:] = [sigmoid.output[0], sigmoid.output[0]]
    else:
        model = eight_channels()
    expected = 0 if obstacle == "channels" else 28
    assert Counter(kinds(group_norm_plugin.apply(model)))[SILU] == expected


def eight_channels() -> ModelProto:
    """One group normalisation with SiLU as the exporter writes it, of too few channels."""
    names = {"one": np.ones(2, np.float32), "zero": np.zeros(2, np.float32), "split": np.array([0, 2, -1])}
    names |= {"gamma": np.ones((8, 1, 1), np.float32), "beta": np.zeros((8, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Reshape", ["x", "split"], ["flat"]),
        helper.make_node("InstanceNormalization", ["flat", "one", "zero"], ["normal"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Reshape", ["normal", "shape"], ["back"]),
        helper.make_node("Mul", ["back", "gamma"], ["scaled"]),
        helper.make_node("Add", ["scaled", "beta"], ["norm"]),
        helper.make_node("Sigmoid", ["norm"], ["s"]),
        helper.make_node("Mul", ["norm", "s"], ["y"]),
    ]
    shape: list[str | int | None] = ["N", 8, "H", "W"]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    constants = [numpy_helper.from_array(array, name) for name, array in names.items()]
    graph = helper.make_graph(nodes, "small", values[:1], values[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_graphs_without_any_stay_as_they_are(trained: ModelProto) -> None:
    head = onnx.load_model(DEFAULT_BUNDLE / "mask_head.onnx")
    assert group_norm_plugin.apply(head).graph.node == head.graph.node
    assert NAMESPACE not in [item.domain for item in group_norm_plugin.apply(head).opset_import]
    assert mask_head.FEATURES in [value.name for value in group_norm_plugin.apply(trained).graph.output]
