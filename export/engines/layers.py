"""What a network computes, node by node, from its ONNX graph: precision, multiply-accumulates and bytes moved.

    MACs of a convolution  = outputs · (input channels / groups) · kernel elements
    MACs of a product      = outputs · the length that is summed over
    bytes of any node      = all that it reads, weights included, and all that it writes

This is an estimate of the cost: backends fuse nodes, so less is moved, and no fusion changes the products. The layers
of an engine itself come from TensorRT's inspector (`export.engines.fused_layers`), which needs its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.sizes import shape_at
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from shadowdiffusion.export.engines.job import Job

LAYERS = "layers.json"
"""In an engine's folder: the layers of the graphs it was compiled from, by name of the network."""

PRECISIONS = {
    "FLOAT": "fp32",
    "FLOAT16": "fp16",
    "BFLOAT16": "bf16",
    "INT8": "int8",
    "UINT8": "int8",
    "FLOAT8E4M3FN": "fp8",
    "DOUBLE": "fp64",
}
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Another shape for the same bytes: nothing is moved."""
Shape = tuple[int, ...]


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One node: its operator, the precision it computes in, the shape of its first output, and its cost."""

    name: str
    operator: str
    precision: str
    shape: list[int]
    macs: int
    bytes: int


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All layers of one operator and precision."""

    operator: str
    precision: str
    count: int
    macs: int
    bytes: int


def layers(model: ModelProto, batch: int, height: int, width: int) -> list[Layer]:
    """The nodes of `model` that compute floating-point values, for inputs of `batch` images of height×width pixels.

    Nodes that only handle shapes, or constants, are left out. Raises ExportError for a graph whose shapes cannot be
    inferred at that size.
    """
    types, shapes = _values(model, batch, height, width)
    constants = {tensor.name for tensor in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        output = next(name for name in node.output if name)
        precision = PRECISIONS.get(types.get(output, ""))
        if precision is None or constants.issuperset(node.input):
            constants.update(node.output)
            continue
        reads = [name for name in node.input if name]
        sources = [_stored(name, producers) for name in reads]
        narrow = {PRECISIONS.get(types.get(name, "")) for name in sources[:2]} & {"int8", "fp8"}
        if node.op_type in PRODUCTS and len(narrow) == 1:
            precision = narrow.pop()
        else:
            sources = reads
        moved = sum(_bytes(types, shapes, name) for name in (*sources, *filter(None, node.output)))
        moved = 0 if node.op_type in VIEWS else moved
        name, macs = node.name or output, _macs(node, shapes, shapes[output])
        found.append(Layer(name, node.op_type, str(precision), list(shapes[output]), macs, moved))
    return found


def summary(found: Sequence[Layer]) -> list[Group]:
    """The layers by operator and precision, the most multiply-accumulates first, then the most bytes."""
    groups = dict[tuple[str, str], list[Layer]]()
    for layer in found:
        groups.setdefault((layer.operator, layer.precision), []).append(layer)
    totals = [
        Group(*key, len(group), sum(layer.macs for layer in group), sum(layer.bytes for layer in group))
        for key, group in groups.items()
    ]
    return sorted(totals, key=lambda group: (-group.macs, -group.bytes, group.operator))


def heaviest(found: Sequence[Layer], count: int) -> list[Layer]:
    """The `count` layers with the most multiply-accumulates."""
    return sorted(found, key=lambda layer: -layer.macs)[:count]


def write_layers(folder: Path, networks: dict[str, list[Layer]]) -> None:
    """Write layers.json of an engine's folder."""
    (folder / LAYERS).write_bytes(msgspec.json.encode(networks) + b"\n")


def record_layers(job: Job, graphs: dict[str, ModelProto]) -> None:
    """Write layers.json of an engine under way: what its graphs compute at the best shape of the profile.

    A graph whose shapes cannot be inferred is left out, which is reported: the engine is none the worse for it.
    """
    found = dict[str, list[Layer]]()
    for name, graph in graphs.items():
        try:
            found[name] = layers(graph, batch_sizes(job.key)[1], *image_sizes(job.key)[1])
        except ExportError as error:
            job.report(f"the layers of {name} will not be listed: {error}")
    write_layers(job.folder, found)


def read_layers(folder: Path) -> dict[str, list[Layer]]:
    """The layers of the graphs that an engine was compiled from. Raises ExportError if it does not have them."""
    try:
        return msgspec.json.decode((folder / LAYERS).read_bytes(), type=dict[str, list[Layer]])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ExportError(f"{folder / LAYERS} does not list the layers of an engine: {error}") from error


def _values(model: ModelProto, *size: int) -> tuple[dict[str, str], dict[str, Shape]]:
    """Element type and shape of every value, for inputs of `size`: batch, height and width in pixels."""
    from onnx import ModelProto, TensorProto
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    sized = ModelProto()
    sized.CopyFrom(model)
    for value in sized.graph.input:
        for dim, length in zip(value.type.tensor_type.shape.dim, shape_at(value, *size), strict=True):
            dim.dim_value = length
    del sized.graph.value_info[:]
    inference = SymbolicShapeInference(int_max=2**31 - 1, auto_merge=False, guess_output_rank=False, verbose=0)
    try:  # step by step: when its infer_shapes() fails, it leaves a file in the working directory
        inference._preprocess(sized)
        while inference.run_:
            inference._infer_impl()
        inference._update_output_from_vi()
    except Exception as error:  # it raises plain Exception, and whatever onnx raises
        reason = " ".join(str(error).split())
        raise ExportError(f"the shapes in {model.graph.name} cannot be inferred: {reason}") from error
    graph = inference.out_mp_.graph
    types, shapes = dict[str, str](), dict[str, Shape]()
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        types[value.name] = TensorProto.DataType.Name(tensor.elem_type)
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    for initialiser in graph.initializer:
        types[initialiser.name] = TensorProto.DataType.Name(initialiser.data_type)
        shapes[initialiser.name] = tuple(initialiser.dims)
    for node in graph.node:
        if unknown := [name for name in node.output if name and name not in shapes]:
            raise ExportError(f"the shape of {unknown[0]} ({node.op_type}) in {model.graph.name} is unknown")
    return types, shapes


def _stored(name: str, producers: dict[str, NodeProto]) -> str:
    """What a value is dequantised from, or the value itself."""
    node = producers.get(name)
    return node.input[0] if node is not None and node.op_type == "DequantizeLinear" else name


def _macs(node: NodeProto, shapes: dict[str, Shape], output: Shape) -> int:
    if node.op_type not in PRODUCTS:
        return 0
    left, right = shapes[node.input[0]], shapes[node.input[1]]
    if node.op_type == "Conv":  # weights [out, in / groups, kernel...]
        return prod(output) * prod(right[1:])
    if node.op_type == "ConvTranspose":  # weights [in, out / groups, kernel...]
        return prod(left) * prod(right[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * left[0 if transposed else -1]


def _bytes(types: dict[str, str], shapes: dict[str, Shape], name: str) -> int:
    from onnx import TensorProto, helper

    return prod(shapes[name]) * helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(types[name])).itemsize
