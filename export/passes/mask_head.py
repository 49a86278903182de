"""The denoiser without its mask head: only what the noise needs. Exact.

    (noise, shadow) = (N(f), M(f)) with f = F(image, mask, x_t, row)    ->    noise = N(F(image, mask, x_t, row))

Most steps read the noise alone. TensorRT gets a second engine from `apply`. ONNX Runtime computes every node of a
graph whichever outputs are asked for, so its engines hold the two parts that `split` makes: F and N, which also give f,
and M. No weight is stored twice, in the bundle or in an engine of ONNX Runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.errors import ExportError
from export.passes.fold import drop_dead
from runtime.onnxruntime_networks import FEATURES

if TYPE_CHECKING:
    from onnx import ModelProto


def apply(model: ModelProto) -> ModelProto:
    """A copy of the denoiser `model` with the output `noise` alone. Raises ExportError for a graph without it."""
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    noise = [value for value in model.graph.output if value.name == "noise"]
    if not noise:
        raise ExportError("the graph has no output 'noise': it is no denoiser")
    del result.graph.output[:]
    result.graph.output.extend(noise)
    return drop_dead(result)


def split(model: ModelProto) -> tuple[ModelProto, ModelProto] | None:
    """The denoiser `model` as (noise and features f, shadow from the features), with f by the name of FEATURES.

    None for a graph whose mask head reads anything but one value that the noise needs, too.
    """
    from onnx import ModelProto, helper, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    trunk_nodes = {node.output[0] for node in apply(model).graph.node}
    head_nodes = [node for node in model.graph.node if node.output[0] not in trunk_nodes]
    weights = {tensor.name for tensor in model.graph.initializer}
    inside = {name for node in head_nodes for name in node.output}
    read = {name for node in head_nodes for name in node.input if name} - weights - inside
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    if len(read) != 1 or not read <= types.keys():
        return None
    (boundary,) = read
    features = helper.make_tensor_value_info(FEATURES, types[boundary], [None] * 4)
    renamed = ModelProto()
    renamed.CopyFrom(model)
    for node in renamed.graph.node:
        node.input[:] = [FEATURES if name == boundary else name for name in node.input]
        node.output[:] = [FEATURES if name == boundary else name for name in node.output]
    trunk, head = apply(renamed), ModelProto()
    trunk.graph.output.append(features)
    head.CopyFrom(renamed)
    kept = [node for node in renamed.graph.node if node.output[0] in inside]
    shadow = [value for value in model.graph.output if value.name == "shadow"]
    del head.graph.input[:], head.graph.output[:], head.graph.node[:]
    head.graph.input.append(features)
    head.graph.output.extend(shadow)
    head.graph.node.extend(kept)
    return trunk, drop_dead(head)
