"""The denoiser takes one image of seven channels, in the type its first convolution reads. Exact.

    image [N, 3, H, W], mask [N, 1, H, W], x_t [N, 3, H, W]  ->  Concat  ->  (Cast)  ->  ...
    becomes    input [N, 7, H, W]  ->  ...        channels in the order image, mask, x_t

Whoever fills `input` joins and rounds while writing it, so that no kernel of the engine has to. A Cast to half
precision moves into the type of `input` where only operations that move values stand before it: rounding commutes
with moving. With quantised convolutions `input` has the type of what is quantised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiffusion.export.passes.view import attributes
from shadowdiffusion.runtime.loop.networks import PACKED_INPUT

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

PARTS = ("image", "mask", "x_t")
"""What the exported denoiser concatenates, in its order."""
MOVES = frozenset({"Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that change no value of their first input."""
CHANNELS = 1
"""The axis."""


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` with the input `input`, or `model` itself if it does not join the three inputs first."""
    from onnx import ModelProto, ValueInfoProto

    join = _join(model)
    if join is None:
        return model
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    parts = {value.name: value for value in graph.input if value.name in PARTS}
    packed = ValueInfoProto()
    packed.CopyFrom(parts["x_t"])
    packed.name, packed.doc_string = PACKED_INPUT, f"{', '.join(PARTS)}, side by side"
    channels = [part.type.tensor_type.shape.dim[CHANNELS].dim_value for part in parts.values()]
    packed.type.tensor_type.shape.dim[CHANNELS].dim_value = sum(channels)
    nodes = [node for node in graph.node if node.output[0] != join]
    _rename(nodes, {*PARTS, join}, PACKED_INPUT)
    moved, cast = _first_cast(nodes, {value.name for value in graph.output})
    if cast is not None:
        packed.type.tensor_type.elem_type = attributes(cast)["to"]
        nodes.remove(cast)
        _rename(nodes, {cast.output[0]}, moved[-1])
    inputs = [packed, *(value for value in graph.input if value.name not in PARTS)]
    typed = [value for value in graph.value_info if value.name not in (join, *moved)]
    del graph.input[:], graph.node[:], graph.value_info[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    graph.value_info.extend(typed)
    return result


def _rename(nodes: list[NodeProto], old: set[str], new: str) -> None:
    """Let the nodes read `new` in place of any of `old`."""
    for node in nodes:
        node.input[:] = [new if name in old else name for name in node.input]


def _join(model: ModelProto) -> str | None:
    """The value that is the concatenation of PARTS, if nothing else reads more of them than their common sizes."""
    if not {value.name for value in model.graph.input} >= set(PARTS):
        return None
    readers = [node for node in model.graph.node if set(PARTS).intersection(node.input)]
    joins = [node for node in readers if node.op_type == "Concat"]
    others = [node for node in readers if node.op_type != "Concat"]
    fits = (
        len(joins) == 1
        and tuple(joins[0].input) == PARTS
        and attributes(joins[0])["axis"] == CHANNELS
        and all(node.op_type == "Shape" and CHANNELS not in _axes(node) for node in others)
    )
    return joins[0].output[0] if fits else None


def _axes(shape: NodeProto) -> range:
    """The axes of an image that a Shape node reads."""
    settings = attributes(shape)
    return range(4)[settings.get("start", 0) : settings.get("end")]


def _first_cast(nodes: list[NodeProto], outputs: set[str]) -> tuple[list[str], NodeProto | None]:
    """The Cast to half precision that is all that becomes of the packed input, and the values on the way to it."""
    from onnx import TensorProto

    way = [PACKED_INPUT]
    while True:
        readers = [node for node in nodes if way[-1] in node.input and node.op_type != "Shape"]
        if len(readers) != 1 or way[-1] in outputs:
            return way, None
        (reader,) = readers
        if reader.op_type == "Cast" and attributes(reader)["to"] in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            return way, reader
        if reader.op_type not in MOVES or reader.input[0] != way[-1]:
            return way, None
        way.append(reader.output[0])
