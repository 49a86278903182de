"""A float32 graph that rounds where a graph in lower precision does, to measure that one on any CPU.

ONNX Runtime's CPU provider has no bfloat16 convolutions, and its float16 ones are float32 between casts. So every
value of half precision becomes float32, and every result in it is cast to its type and back: products are added up
in float32 and rounded once, as in the matrix units of GPUs. QuantizeLinear and DequantizeLinear run as they are.
It says nothing about the speed on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from shadowdiffusion.export.precision.mixed import LAYERS

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ROUNDING = LAYERS | {"Add", "DequantizeLinear", "Mul", "Resize", "Sigmoid", "Sub"}
"""Operators whose results need rounding; all others of a mixed graph only carry values that are rounded already."""

TOTAL = "total magnitude"
"""Extra output of a simulation, float32[]: the sum of the magnitudes of all half-precision values. It is finite if none
overflows, also where the next operator hides that, as a sigmoid does.
"""


def simulated(model: ModelProto) -> ModelProto:
    """The float32 graph of a strongly typed `model`, with one output more, TOTAL, if that has half precision."""
    from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

    typed = shape_inference.infer_shapes(model, strict_mode=True).graph
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed.value_info}
    low = {name: kind for name, kind in kinds.items() if kind in halves}
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type in halves:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    rounded = list[str]()
    nodes = [made for node in graph.node for made in _convert(node, low, rounded)]
    if rounded:
        sums = [f"{name}.sum" for name in rounded]
        for name, total in zip(rounded, sums, strict=True):
            nodes.append(helper.make_node("ReduceL1", [name], [total], keepdims=0))
        nodes.append(helper.make_node("Sum", sums, [TOTAL]))
        graph.output.append(helper.make_tensor_value_info(TOTAL, TensorProto.FLOAT, []))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return result


def _convert(node: NodeProto, low: dict[str, int], rounded: list[str]) -> Iterator[NodeProto]:
    """The node on float32 values, and the rounding of its result if that was half precision."""
    from onnx import NodeProto, TensorProto, helper

    target = next((low[name] for name in node.output if name in low), None)
    if node.op_type == "Cast" and node.input[0] in low:
        yield helper.make_node("Identity", node.input, node.output, name=node.name)
        return
    if target is None or node.op_type not in ROUNDING | {"Cast"}:
        yield node
        return
    (name,) = node.output
    rounded.append(name)
    exact = node.input[0] if node.op_type == "Cast" else f"{name}.exact"
    if node.op_type != "Cast":
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.output[0] = exact
        yield copy
    yield helper.make_node("Cast", [exact], [f"{name}.rounded"], name=f"{name}.round", to=target)
    yield helper.make_node("Cast", [f"{name}.rounded"], [name], name=f"{name}.widen", to=TensorProto.FLOAT)
