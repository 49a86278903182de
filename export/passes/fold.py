"""Constant folding and dead code: f(c) becomes its value where c is constant; what no output needs is dropped. Exact.

The folding is onnxscript's optimizer, which the exporter also uses; it runs again because other passes make new
constants. Values with more than 2^20 elements are left to the runtime: a larger file would not run faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

LARGEST = 2**20


def apply(model: ModelProto) -> ModelProto:
    """The folded copy of `model`; inputs and outputs keep their names."""
    from onnxscript import optimizer

    folded: ModelProto = optimizer.optimize(model, onnx_shape_inference=True, output_size_limit=LARGEST)
    return drop_dead(folded)


def drop_dead(model: ModelProto) -> ModelProto:
    """A copy without nodes, weights and inner shapes that no output of the graph needs."""
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
    return result
