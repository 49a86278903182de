"""One input of seven channels in place of three: the same bits come out, in every precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from shadowdiffusion.export.passes import packed_input
from shadowdiffusion.export.precision.fp8 import FLOAT8
from shadowdiffusion.export.precision.int8 import TENSORRT
from shadowdiffusion.export.precision.mixed import mixed_graph
from shadowdiffusion.export.precision.quantize import Scheme, quantized_graph, tensors
from shadowdiffusion.export.precision.simulate import simulated
from shadowdiffusion.runtime.bundle.folder import DEFAULT_BUNDLE
from tests.export.passes.graphs import Network, images, kinds, run

TYPES = {
    "fp32": TensorProto.FLOAT,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "int8": TensorProto.FLOAT,
    "int8 of fp16": TensorProto.FLOAT16,
    "fp8 of fp16": TensorProto.FLOAT16,
}


def in_precision(model: ModelProto, precision: str) -> ModelProto:
    def quantized(base: ModelProto, scheme: Scheme) -> ModelProto:
        return quantized_graph(base, model, dict.fromkeys(tensors(model, False), (-4.0, 4.0)), scheme, frozenset())

    if precision == "fp32":
        return model
    if precision in ("fp16", "bf16"):
        return mixed_graph(model, precision)  # type: ignore[arg-type]
    base = mixed_graph(model) if precision.endswith("of fp16") else model
    return quantized(base, FLOAT8 if precision.startswith("fp8") else TENSORRT)


def packed(feed: dict[str, Any]) -> dict[str, Any]:
    """The same inputs for a denoiser that takes one image."""
    one = np.concatenate([feed[name] for name in ("image", "mask", "x_t")], axis=1)
    return {"input": one} | {name: array for name, array in feed.items() if name not in packed_input.PARTS}


def widened(model: ModelProto) -> ModelProto:
    """A copy that takes `input` in float32 and casts it itself, so that the CPU can run it."""
    result = ModelProto()
    result.CopyFrom(model)
    graph, (first, *_) = result.graph, result.graph.input
    kind = first.type.tensor_type.elem_type
    if kind == TensorProto.FLOAT:
        return result
    first.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        node.input[:] = ["rounded" if name == "input" else name for name in node.input]
    nodes = [helper.make_node("Cast", ["input"], ["rounded"], to=kind), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("size", [(1, 32, 16), (2, 16, 48)])
def test_the_same_bits_come_out(denoiser: Network, precision: str, size: tuple[int, int, int]) -> None:
    model = in_precision(denoiser.model, precision)
    changed = packed_input.apply(model)
    onnx.checker.check_model(changed, full_check=precision != "fp8 of fp16")
    feed = images(denoiser.model, *size) | denoiser.others
    expected, found = run(simulated(model), feed), run(simulated(widened(changed)), packed(feed))
    assert len(expected) >= 2
    for before, after in zip(expected[:2], found[:2], strict=True):  # and not the sum of magnitudes
        assert before.std() > 0
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("precision", TYPES)
def test_its_type_is_what_the_first_convolution_reads(denoiser: Network, precision: str) -> None:
    model = in_precision(denoiser.model, precision)
    changed = packed_input.apply(model)
    assert [value.name for value in changed.graph.input] == ["input", "row"]
    (tensor, _) = (value.type.tensor_type for value in changed.graph.input)
    assert tensor.elem_type == TYPES[precision]
    assert [dim.dim_value for dim in tensor.shape.dim][1] == 7
    assert tensor.shape.dim[2].dim_param == model.graph.input[0].type.tensor_type.shape.dim[2].dim_param
    gone = 1 if TYPES[precision] == TensorProto.FLOAT else 2
    assert len(changed.graph.node) == len(model.graph.node) - gone
    assert kinds(changed).count("Concat") == kinds(model).count("Concat") - 1


def test_other_graphs_stay_as_they_are(denoiser: Network) -> None:
    others = [onnx.load_model(DEFAULT_BUNDLE / name) for name in ("prior.onnx", "mask_head.onnx")]
    for model in (*others, packed_input.apply(denoiser.model)):
        assert packed_input.apply(model) == model


@pytest.mark.parametrize("obstacle", ["another reader", "another order", "its channels are read"])
def test_a_denoiser_that_uses_its_inputs_otherwise_stays(attentive: Network, obstacle: str) -> None:
    model = ModelProto()
    model.CopyFrom(attentive.model)
    (join,) = (node for node in model.graph.node if list(node.input) == list(packed_input.PARTS))
    if obstacle == "another reader":
        model.graph.node.append(helper.make_node("Relu", ["x_t"], ["more"]))
    elif obstacle == "another order":
        join.input[:] = ["mask", "image", "x_t"]
    else:
        model.graph.node.append(helper.make_node("Shape", ["mask"], ["sizes"]))
    assert packed_input.apply(model) == model


@pytest.mark.parametrize("obstacle", ["another reader", "an output"])
def test_a_cast_stays_where_float32_is_read_too(attentive: Network, obstacle: str) -> None:
    model = mixed_graph(attentive.model)
    (join,) = (node for node in model.graph.node if list(node.input) == list(packed_input.PARTS))
    if obstacle == "another reader":
        model.graph.node.append(helper.make_node("Relu", [join.output[0]], ["more"]))
    else:
        model.graph.node.append(helper.make_node("Identity", [join.output[0]], ["more"]))
        model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N", 7, "H", "W"]))
    changed = packed_input.apply(model)
    onnx.checker.check_model(changed, full_check=True)
    assert changed.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert kinds(changed).count("Cast") == kinds(model).count("Cast")
