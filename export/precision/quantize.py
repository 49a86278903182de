"""Convolutions in 8 bits: QuantizeLinear and DequantizeLinear around them, which engines fold into the convolution.

x -> clamp(round(x / s) + z), w -> clamp(round(w / s_c)) with one scale for every output channel c. Everything between
the convolutions stays as it was. Attention products stay too: they are few, and their inputs have no fixed weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shadowdiffusion.export.precision.mixed import raise_opset
from shadowdiffusion.export.precision.ranges import Range

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

OPSET = 19  # the first whose QuantizeLinear knows float8 and float16


@dataclass(frozen=True)
class Scheme:
    """How a backend wants it.

    activation, weight: numpy's or ml_dtypes' names of the types. weight_limit: largest magnitude of a quantised weight.
    outputs: quantise what a convolution returns and its bias too, as ONNX Runtime's integer convolution needs it.
    """

    activation: str
    weight: str
    weight_limit: float
    outputs: bool


def convolutions(model: ModelProto) -> list[str]:
    """Names of the nodes of a denoiser that can be quantised: those on the way to its first output, the noise.

    The mask head runs once per photo, so that nothing is gained there, and its mask would suffer.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    needed, found = {model.graph.output[0].name}, list[str]()
    for node in reversed(model.graph.node):
        if needed.isdisjoint(node.output):
            continue
        needed.update(node.input)
        if node.op_type == "Conv" and node.input[1] in constants:
            found.append(node.name)
    return found[::-1]


def tensors(model: ModelProto, outputs: bool) -> list[str]:
    """Names of the values around the convolutions whose ranges are needed."""
    chosen = set(convolutions(model))
    nodes = [node for node in model.graph.node if node.name in chosen]
    names = [name for node in nodes for name in (node.input[0], *(node.output if outputs else ()))]
    return list(dict.fromkeys(names))


def quantized_graph(
    base: ModelProto, original: ModelProto, ranges: Mapping[str, Range], scheme: Scheme, keep: frozenset[str]
) -> ModelProto:
    """A copy of `base` with every convolution in 8 bits but those in `keep`.

    base: a `single_graph`, or the mixed graph of it: then what is quantised has half precision. original: the single
    graph, whose values `ranges` knows.
    """
    from onnx import ModelProto, shape_inference

    result = ModelProto()
    result.CopyFrom(base)
    graph = result.graph
    raise_opset(result, OPSET)
    inferred = shape_inference.infer_shapes(base).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    writer = _Writer(scheme, base, kinds)
    sources = {node.name: node for node in original.graph.node}
    chosen = set(convolutions(original)) - keep
    nodes = list[Any]()
    for node in graph.node:
        if node.name in chosen:
            nodes += writer.quantize(node, sources[node.name], ranges)
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in (*graph.initializer, *writer.made) if tensor.name in read]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return result


class _Writer:
    """Writes the nodes around convolutions; one quantised form of every value, however many read it."""

    def __init__(self, scheme: Scheme, base: ModelProto, kinds: Mapping[str, int]) -> None:
        from onnx import numpy_helper

        self.scheme, self.kinds = scheme, kinds
        self.constants = {tensor.name: tensor for tensor in base.graph.initializer}
        self.array = numpy_helper.to_array
        self.made = list[Any]()
        self.known = dict[str, str]()

    def quantize(self, node: NodeProto, source: NodeProto, ranges: Mapping[str, Range]) -> list[Any]:
        """`node`, changed, between the nodes that quantise what it reads and returns."""
        nodes = list[Any]()
        x, weight = node.input[0], node.input[1]
        scale, zero = self._activation_scale(ranges[source.input[0]])
        if x not in self.known:
            self.known[x] = f"{x}.dequantized"
            nodes += self._pair(x, self.known[x], scale, zero, x)
        node.input[0] = self.known[x]
        scales = self._weights(nodes, node.name, weight)
        node.input[1] = f"{node.name}.weight"
        if self.scheme.outputs:
            if len(node.input) > 2 and node.input[2]:
                node.input[2] = self._bias(nodes, node.name, node.input[2], scale * scales)
            y = node.output[0]
            node.output[0] = f"{y}.exact"
            self.known[y] = y
            nodes.append(node)
            nodes += self._pair(f"{y}.exact", y, *self._activation_scale(ranges[source.output[0]]), y)
        else:
            nodes.append(node)
        return nodes

    def _activation_scale(self, bounds: Range) -> tuple[Any, Any]:
        """Scale and zero point, which is 0 but for unsigned integers."""
        least, largest = bounds
        if self.scheme.activation == "uint8":
            scale = np.float32(max(largest - least, 1e-12) / 255)
            return scale, np.uint8(np.clip(round(-least / scale), 0, 255))
        kind = _type(self.scheme.activation)
        top = 127.0 if self.scheme.activation == "int8" else 448.0
        return np.float32(max(-least, largest, 1e-12) / top), np.zeros((), kind)

    def _pair(self, source: str, target: str, scale: Any, zero: Any, label: str) -> list[Any]:
        from onnx import helper

        middle = f"{label}.quantized"
        names = [self._constant(f"{middle}.scale", scale, label), self._constant(f"{middle}.zero", zero)]
        return [
            helper.make_node("QuantizeLinear", [source, *names], [middle], name=f"{label}.quantize"),
            helper.make_node("DequantizeLinear", [middle, *names], [target], name=f"{label}.dequantize"),
        ]

    def _weights(self, nodes: list[Any], name: str, weight: str) -> Any:
        """Write the weights as constants in 8 bits; returns the scale float32[C] of every output channel."""
        from onnx import helper

        values = self.array(self.constants[weight]).astype(np.float32)
        largest = np.abs(values).reshape(len(values), -1).max(axis=1)
        scales = np.maximum(largest, 1e-12) / self.scheme.weight_limit
        scaled = values / scales.reshape(-1, *[1] * (values.ndim - 1))
        kind = _type(self.scheme.weight)
        shift = 128 if self.scheme.weight == "uint8" else 0
        stored = (np.rint(scaled) + shift if "int" in self.scheme.weight else scaled).astype(kind)
        inputs = [
            self._constant(f"{name}.weight.quantized", stored),
            self._constant(f"{name}.weight.quantized.scale", scales.astype(np.float32), weight),
            self._constant(f"{name}.weight.quantized.zero", np.full(len(values), shift, kind)),
        ]
        nodes.append(
            helper.make_node("DequantizeLinear", inputs, [f"{name}.weight"], name=f"{name}.weight.dequantize", axis=0)
        )
        return scales

    def _bias(self, nodes: list[Any], name: str, bias: str, scales: Any) -> str:
        from onnx import helper

        values = self.array(self.constants[bias]).astype(np.float64)
        stored = np.rint(values / scales).clip(-(2**31) + 1, 2**31 - 1).astype(np.int32)
        inputs = [
            self._constant(f"{name}.bias.quantized", stored),
            self._constant(f"{name}.bias.quantized.scale", scales.astype(np.float32)),
            self._constant(f"{name}.bias.quantized.zero", np.zeros(len(values), np.int32)),
        ]
        target = f"{name}.bias"
        nodes.append(helper.make_node("DequantizeLinear", inputs, [target], name=f"{target}.dequantize", axis=0))
        return target

    def _constant(self, name: str, values: Any, like: str | None = None) -> str:
        """A constant, a scale in the type of the value `like` that it scales; returns its name."""
        from onnx import TensorProto, numpy_helper

        if like is not None:
            kind = self.constants[like].data_type if like in self.constants else self.kinds.get(like)
            if kind == TensorProto.FLOAT16:
                values = np.asarray(values).astype(np.float16)
        self.made.append(numpy_helper.from_array(np.asarray(values), name))
        return name


def _type(name: str) -> Any:
    import ml_dtypes

    return getattr(ml_dtypes, name, None) or np.dtype(name)
