"""A graph as passes read it: who makes a value, who reads it, and which values are constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Values = npt.NDArray[Any]


class View:
    """Maps over `model`, which must not be changed while they are in use.

    maker: value -> the node that computes it. readers: value -> how many inputs and outputs of the graph want it.
    """

    def __init__(self, model: ModelProto) -> None:
        self.maker = {name: node for node in model.graph.node for name in node.output if name}
        self.readers = Counter(name for node in model.graph.node for name in node.input if name)
        self.readers.update(value.name for value in model.graph.output)
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def constant(self, name: str) -> Values | None:
        """The value of an initialiser or of a Constant node, None for what is computed."""
        from onnx import numpy_helper

        node = self.maker.get(name)
        if name in self._tensors:
            return numpy_helper.to_array(self._tensors[name])
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        return None

    def parent(self, node: NodeProto, index: int, kind: str) -> NodeProto | None:
        """The node of type `kind` that makes input `index` and whose result nobody else reads, or None."""
        name = node.input[index] if index < len(node.input) else ""
        found = self.maker.get(name)
        return found if found is not None and found.op_type == kind and self.readers[name] == 1 else None


def attributes(node: NodeProto) -> dict[str, Any]:
    """The attributes that the node names, as Python values."""
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def replaced(model: ModelProto, replacements: dict[str, list[NodeProto]], tensors: Iterable[TensorProto]) -> ModelProto:
    """A copy in which the maker of each named value is replaced by nodes, and what is then unused is dropped."""
    from onnx import ModelProto

    from shadowdiffusion.export.passes.fold import drop_dead

    result = ModelProto()
    result.CopyFrom(model)
    nodes = [
        new for node in model.graph.node for new in replacements.get(node.output[0] if node.output else "", [node])
    ]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    result.graph.initializer.extend(tensors)
    return drop_dead(result)


def float_tensor(name: str, values: Any) -> TensorProto:
    """A float32 initialiser."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name)


def integer_tensor(name: str, values: Any) -> TensorProto:
    """An int64 initialiser; of a number, a scalar."""
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(values, np.int64, order="C"), name)
