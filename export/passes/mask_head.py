"""The mask head as a graph of its own, which runs only where its mask is read. Exact.

    (noise, shadow) = (N(f), M(f)),  f = F(image, mask, x_t, row)    ->    denoiser: (noise, features f),  head: M(f)

Most steps need the noise alone. Runtimes compute every output of a graph even when only some are asked for, so the
head must be cut off; f is its one link to the rest. No weight is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from shadowdiffusion.export.description import BATCH, HEIGHT, WIDTH
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.fold import drop_dead

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

NOISE, SHADOW, FEATURES = "noise", "shadow", "features"


def split(model: ModelProto) -> tuple[ModelProto, ModelProto]:
    """The denoiser `model` as (denoiser, head): copies with the outputs `noise` and `features`, and `shadow`.

    The head takes `features` float32[N, C, h, w]; with patches of p pixels, h is declared as "height/p". Raises
    ExportError for a graph that is no denoiser, or whose head hangs on more than one value.
    """
    from onnx import TensorProto, helper

    if {value.name for value in model.graph.output} != {NOISE, SHADOW}:
        raise ExportError(f"the graph has not the outputs {NOISE!r} and {SHADOW!r}: it is no denoiser")
    trunk, both = _needing(model, NOISE), _needing(model, SHADOW)
    inside = {name for node in trunk.graph.node for name in node.output} - _constants(model)
    head = [node for node in both.graph.node if not inside.intersection(node.output)]
    links = sorted({name for node in head for name in node.input if name in inside})
    if len(links) != 1:
        found = ", ".join(links) or "nothing"
        raise ExportError(f"the mask head reads {found} of the denoiser: export with --without mask-head")
    link = links[0]
    for graph, nodes in ((trunk.graph, list(trunk.graph.node)), (both.graph, head)):
        del graph.node[:]
        graph.node.extend(nodes)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [FEATURES if name == link else name for name in names]
    patch = _patch(head)
    part = f"/{patch}" if patch > 1 else ""
    shape: list[str | int | None] = [BATCH, _channels(model, link), HEIGHT + part, WIDTH + part]
    features = helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, shape)
    trunk.graph.output.append(features)
    del both.graph.input[:]
    both.graph.input.append(features)
    return drop_dead(trunk), drop_dead(both)


def _constants(model: ModelProto) -> set[str]:
    """Names of the values that no input changes: the head gets its own copy of those."""
    found = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if found.issuperset(name for name in node.input if name):
            found.update(node.output)
    return found


def _channels(model: ModelProto, name: str) -> int:
    """C of a value [N, C, h, w]. Raises ExportError if nothing tells it."""
    from onnx import shape_inference

    for value in shape_inference.infer_shapes(model).graph.value_info:
        dims = value.type.tensor_type.shape.dim
        if value.name == name and len(dims) == 4 and dims[1].dim_value:
            return int(dims[1].dim_value)
    raise ExportError(f"the number of channels of {name} is unknown: export with --without mask-head")


def _patch(head: Sequence[NodeProto]) -> int:
    """How many pixels of the image, a side, one pixel of the features stands for."""
    sizes = [attribute.i for node in head for attribute in node.attribute if attribute.name == "blocksize"]
    return prod(sizes)


def _needing(model: ModelProto, output: str) -> ModelProto:
    """A copy with one of the outputs, and only what it needs."""
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    del result.graph.output[:]
    result.graph.output.extend(value for value in model.graph.output if value.name == output)
    return drop_dead(result)
