"""Group normalisation with SiLU as plugins of TensorRT, the time's projection and the casts around it included. Exact.

    Cast(x) + t -> group normalisation -> v -> v sigmoid(v) -> Cast
    becomes    GroupNormStatistics(x) -> GroupNormMerge(x, ., gamma, epsilon, t) -> GroupNormSilu(x, ., beta)

The statistics stay in float32, as they were; x is read and the result is written in half precision where a Cast stood
there. What the operators compute is in `kernels.group_norm_plugin`; only TensorRT runs them (see
`export.engines.group_norm_plugin`). Not run by TensorRT yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shadowdiffusion.export.passes.group_norm import Norm, norms
from shadowdiffusion.export.passes.view import View, attributes, float_tensor, replaced

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

NAMESPACE = "shadowdiffusion"
STATISTICS, MERGE, SILU = "GroupNormStatistics", "GroupNormMerge", "GroupNormSilu"


def apply(model: ModelProto) -> ModelProto:
    """A copy of `model` with plugins where a group normalisation is followed by SiLU alone."""
    from onnx import helper

    from shadowdiffusion.kernels.group_norm_plugin import MULTIPLE
    from shadowdiffusion.kernels.group_norm_silu import GROUP_CHANNELS

    rewriter = _Rewriter(model)
    replacements, tensors = dict[str, list["NodeProto"]](), []
    for norm in norms(model):
        channels = norm.gamma.size
        activated = rewriter.activated(norm)
        if activated and channels % MULTIPLE == 0 and channels // norm.groups <= GROUP_CHANNELS:
            output, nodes = rewriter.plugins(norm, activated)
            replacements[output] = nodes
            tensors += [  # groups are read from the shape of gamma
                float_tensor(f"{output}.gamma", norm.gamma.reshape(norm.groups, -1)),
                float_tensor(f"{output}.beta", norm.beta),
                float_tensor(f"{output}.epsilon", [norm.epsilon]),
                float_tensor(f"{output}.zero", np.zeros((1, channels, 1, 1))),
            ]
    result = replaced(model, replacements, tensors)
    if replacements:
        result.opset_import.append(helper.make_opsetid(NAMESPACE, 1))
    return result


class _Rewriter:
    """Finds what stands around the group normalisations of a graph."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import shape_inference

        self.view = View(model)
        inferred = shape_inference.infer_shapes(model).graph
        self.types = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input)}
        self.readers = dict[str, list["NodeProto"]]()
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def activated(self, norm: Norm) -> str | None:
        """The value y sigmoid(y), if nothing else becomes of the norm's y."""
        readers = self.readers.get(norm.y, [])
        kinds = {node.op_type: node for node in readers}
        if len(readers) != 2 or kinds.keys() != {"Sigmoid", "Mul"} or self.view.readers[norm.y] != 2:
            return None
        sigmoid, mul = kinds["Sigmoid"].output[0], kinds["Mul"]
        fits = set(mul.input) == {norm.y, sigmoid} and self.view.readers[sigmoid] == 1
        return mul.output[0] if fits else None

    def plugins(self, norm: Norm, activated: str) -> tuple[str, list[NodeProto]]:
        """The value that is to be replaced, `activated` or what it is cast to, and the nodes that make it."""
        from onnx import TensorProto, helper

        x, time = self.without_time(norm)
        narrow, output, nodes = self.uncast(x), activated, list["NodeProto"]()
        readers = self.readers.get(activated, [])
        alone = len(readers) == self.view.readers[activated] == 1 and readers[0].op_type == "Cast"
        if alone and self.kind(narrow) == attributes(readers[0])["to"]:
            x, output = narrow, readers[0].output[0]
        elif self.kind(x) != TensorProto.FLOAT:
            nodes = [helper.make_node("Cast", [x], [f"{activated}.x"], to=TensorProto.FLOAT)]
            x = f"{activated}.x"
        statistics, affine = f"{output}.statistics", f"{output}.affine"
        merged = [x, statistics, f"{output}.gamma", f"{output}.epsilon", time or f"{output}.zero"]
        return output, [
            *nodes,
            _plugin(STATISTICS, [x], statistics),
            _plugin(MERGE, merged, affine),
            _plugin(SILU, [x, affine, f"{output}.beta"], output),
        ]

    def without_time(self, norm: Norm) -> tuple[str, str | None]:
        """(a, b) if the norm reads a + b, b one float32 value per channel; else its input and None."""
        from onnx import TensorProto

        add = self.view.maker.get(norm.x)
        if add is not None and add.op_type == "Add":
            for a, b in (add.input, reversed(add.input)):
                each = [dim.dim_value for dim in self.types[b].shape.dim] if b in self.types else []
                if each[1:] == [norm.gamma.size, 1, 1] and self.kind(b) == TensorProto.FLOAT:
                    return a, b
        return norm.x, None

    def uncast(self, name: str) -> str:
        """What a value is cast from, or the value itself."""
        maker = self.view.maker.get(name)
        return maker.input[0] if maker is not None and maker.op_type == "Cast" else name

    def kind(self, name: str) -> int:
        """The element type of a value, 0 if it is unknown."""
        return self.types[name].elem_type if name in self.types else 0


def _plugin(kind: str, inputs: list[str], output: str) -> NodeProto:
    """A node that TensorRT's parser takes for the plugin of that name, compiled ahead of time."""
    from onnx import helper

    settings: dict[str, Any] = {"plugin_namespace": NAMESPACE, "aot": 1}
    return helper.make_node(kind, inputs, [output], name=output, domain=NAMESPACE, **settings)
