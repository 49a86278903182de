"""A mixed graph: convolutions and matrix products in half precision, float16 or bfloat16, statistics in single.

TensorRT 11 and TensorRT for RTX take the precision of every value from the graph, so it is written there.
Convolutions and products get half-precision weights and inputs. What only carries or adds values stays in half if
everything that it reads is. All else runs in float32: normalisation, means, softmax, sines, powers, logarithms
and exponentials, and with them the colour curve and the illumination of the prior. Inputs and outputs keep float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.half_weights import HALF_MAX, HALF_TINY

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Constant = npt.NDArray[np.float32]
Kind = Literal["fp16", "bf16"]

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators with weights or products: what a precision is chosen for. Their nodes are called layers here."""
CARRY = frozenset(
    {
        *("Add", "Concat", "DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Mul", "Pad", "Relu"),
        *("Reshape", "Resize", "Sigmoid", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Transpose"),
        "Unsqueeze",
    }
)
"""In half precision if every value they read is; a sum or product of two is rounded as it would be on storing it."""
AGNOSTIC = frozenset({"Shape", "Size"})
BFLOAT16_OPSET = 22  # the first whose Conv and InstanceNormalization know bfloat16; otherwise as in 18


def mixed_graph(model: ModelProto, kind: Kind = "fp16", keep: frozenset[str] = frozenset()) -> ModelProto:
    """A copy of the float32 `model` with its convolutions and products in `kind`, casts where they are needed.

    keep: names of layers (nodes, as `single_graph` has them) that stay in float32. Raises ExportError for a graph with
    control flow, or with values whose type cannot be inferred.
    """
    from onnx import numpy_helper

    result = single_graph(model)
    graph = result.graph
    if kind == "bf16":
        raise_opset(result, BFLOAT16_OPSET)
    floats, constants = _floats(result), _constants(result)
    builder = _Rewriter(kind, keep, floats, constants, {value.name for value in graph.output})
    nodes = [node for original in graph.node for node in builder.convert(original)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(constants[name].astype(_numpy_type(kind)), half)
        for name, half in builder.halved.items()
    )
    used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return result


def single_graph(model: ModelProto) -> ModelProto:
    """A copy in which weights stored as float16 (see `export.passes.half_weights`) are float32 again, exactly.

    Constant nodes become initialisers on the way: one place to look for a value. Nodes without a name get one.
    """
    from onnx import ModelProto, TensorProto, numpy_helper

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes, read = [], set[str]()
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored and _attribute(node, "to") == TensorProto.FLOAT:
            values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        elif node.op_type == "Constant" and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
        else:
            node.name = node.name or f"{node.op_type}_{node.output[0]}"
            nodes.append(node)
            read.update(node.input)
    kept = [tensor for tensor in graph.initializer if tensor.name not in stored or tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return result


def half_values(model: ModelProto) -> list[str]:
    """Names of the half-precision values that nodes of a `mixed_graph` compute."""
    from onnx import TensorProto, shape_inference

    typed = shape_inference.infer_shapes(model, strict_mode=True).graph.value_info
    halves = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return [value.name for value in typed if value.type.tensor_type.elem_type in halves]


def float32_layers(model: ModelProto) -> list[str]:
    """Names of the layers of a `mixed_graph` that stayed in float32."""
    half = set(half_values(model))
    return [node.name for node in model.graph.node if node.op_type in LAYERS and node.output[0] not in half]


def raise_opset(model: ModelProto, least: int) -> None:
    """Let `model` use operators of opset `least`, in place."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = max(entry.version, least)


class _Rewriter:
    """Converts nodes in running order, remembering which values are half and which have been cast already."""

    def __init__(
        self, kind: Kind, keep: frozenset[str], floats: set[str], constants: dict[str, Constant], outputs: set[str]
    ) -> None:
        self.kind, self.keep = kind, keep
        self.floats, self.constants, self.outputs = floats, constants, outputs
        self.half = set[str]()
        self.halved: dict[str, str] = {}
        self.cast: dict[tuple[str, bool], str] = {}

    def convert(self, node: NodeProto) -> Iterator[NodeProto]:
        """The node in the precision it gets, after the casts it needs and before those of the graph's outputs."""
        from onnx import TensorProto, helper

        low = TensorProto.FLOAT16 if self.kind == "fp16" else TensorProto.BFLOAT16
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ExportError(f"node {node.name} ({node.op_type}) has a graph inside: build with --precision fp32")
        half = self._suits(node)
        for index in _float_inputs(node):
            name = node.input[index]
            if name not in self.floats or node.op_type in AGNOSTIC:
                continue
            if name in self.constants:
                if half:
                    node.input[index] = self.halved.setdefault(name, f"{name}.half")
            elif (name in self.half) != half:
                if (name, half) not in self.cast:
                    target = self.cast[name, half] = f"{name}.{'half' if half else 'single'}"
                    kind = low if half else TensorProto.FLOAT
                    yield helper.make_node("Cast", [name], [target], name=f"{target}.cast", to=kind)
                node.input[index] = self.cast[name, half]
        back = []
        if half:
            for index, name in enumerate(node.output):
                if name in self.outputs:
                    node.output[index] = f"{name}.half"
                    back.append(helper.make_node("Cast", [f"{name}.half"], [name], name=f"{name}.cast", to=1))
                    self.cast[f"{name}.half", False] = name
                else:
                    self.half.add(name)
        yield node
        yield from back

    def _suits(self, node: NodeProto) -> bool:
        """Whether the node runs in half precision: its operator may, and its constants keep their values."""
        if node.name in self.keep:
            return False
        names = [node.input[index] for index in _float_inputs(node)]
        names = [name for name in names if name in self.floats]
        values = [name for name in names if name not in self.constants]
        if not values or not all(self._fits(self.constants[name]) for name in names if name in self.constants):
            return False
        return node.op_type in LAYERS or (node.op_type in CARRY and self.half.issuperset(values))

    def _fits(self, values: Constant) -> bool:
        """Whether float16 holds these values, to its 11 bits, or they are all zero; bfloat16 has float32's range."""
        largest = float(np.abs(values).max(initial=0.0))
        return self.kind == "bf16" or largest == 0 or HALF_TINY <= largest <= HALF_MAX


def _float_inputs(node: NodeProto) -> list[int]:
    """Positions of the inputs that share the node's precision: those of a Resize but the first do not."""
    if node.op_type == "Resize":
        return [0]
    return [index for index, name in enumerate(node.input) if name]


def _numpy_type(kind: Kind) -> Any:
    import ml_dtypes

    return np.float16 if kind == "fp16" else ml_dtypes.bfloat16


def _floats(model: ModelProto) -> set[str]:
    """Names of all float32 values of the graph: inputs, constants and results."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.input, *graph.output, *graph.value_info)
    typed = {value.name: value.type.tensor_type.elem_type for value in values}
    typed |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        unknown = [name for name in node.output if name and name not in typed]
        if unknown:
            raise ExportError(f"the type of {unknown[0]} is unknown: build with --precision fp32")
    return {name for name, kind in typed.items() if kind == TensorProto.FLOAT}


def _constants(model: ModelProto) -> dict[str, Constant]:
    from onnx import TensorProto, numpy_helper

    tensors = (tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT)
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def _attribute(node: NodeProto, name: str) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)
