"""Graphs that compute something for nothing, and passes that leave out some of it: real work, of a known size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shadowdiffusion.export.passes.catalog import Pass

WASTE = "waste"


def add_waste(model: onnx.ModelProto, layers: int, output: str = "noise") -> onnx.ModelProto:
    """A copy in which `layers` wide convolutions of x_t are multiplied by zero and added to an output."""
    rng, result = np.random.default_rng(0), onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for node in graph.node:
        node.output[:] = [f"{output}.pure" if name == output else name for name in node.output]
    value = "x_t"
    for index in range(layers):
        channels = 3 if value == "x_t" else 48
        weight = rng.standard_normal((3 if index == layers - 1 else 48, channels, 7, 7)).astype(np.float32) / 50
        name = f"{WASTE}{index}"
        graph.initializer.append(numpy_helper.from_array(weight, f"{name}.weight"))
        graph.node.append(helper.make_node("Conv", [value, f"{name}.weight"], [name], name=name, pads=[3] * 4))
        value = name
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), f"{WASTE}.zero"))
    graph.node.append(helper.make_node("Mul", [value, f"{WASTE}.zero"], [f"{WASTE}.nothing"], name=f"{WASTE}.mul"))
    graph.node.append(helper.make_node("Add", [f"{output}.pure", f"{WASTE}.nothing"], [output], name=f"{WASTE}.add"))
    return result


def less_waste(layers: int, scale: float = 1.0) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    """A pass that leaves `layers` of the waste, and multiplies the network's weights by `scale`."""

    def apply(model: onnx.ModelProto) -> onnx.ModelProto:
        found = sum(node.op_type == "Conv" and node.name.startswith(WASTE) for node in model.graph.node)
        result = onnx.ModelProto()
        result.CopyFrom(model)
        if found == layers:
            return result
        nodes = [node for node in result.graph.node if not node.name.startswith(WASTE)]
        for node in nodes:
            node.output[:] = [name.removesuffix(".pure") for name in node.output]
        tensors = [tensor for tensor in result.graph.initializer if not tensor.name.startswith(WASTE)]
        for tensor in tensors:
            if tensor.name == "w":
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(scale), "w"))
        clean = helper.make_model(
            helper.make_graph(nodes, "clean", model.graph.input, model.graph.output, tensors),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
        )
        return add_waste(clean, layers) if layers else clean

    return apply


def engine_pass(name: str, apply: Callable[[onnx.ModelProto], onnx.ModelProto]) -> Pass:
    return Pass(name, "exact", "engine", name, apply=apply)


def small_network() -> onnx.ModelProto:
    """noise = a 3x3 convolution of x_t [N, 3, H, W]."""
    weight = np.random.default_rng(1).standard_normal((3, 3, 3, 3)).astype(np.float32)
    shape: list[str | int | None] = ["N", 3, "H", "W"]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x_t", "w"], ["noise"], name="conv", pads=[1] * 4)],
        "small",
        [helper.make_tensor_value_info("x_t", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("noise", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
