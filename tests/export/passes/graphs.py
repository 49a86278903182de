"""Running a graph before and after a pass on the same inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from shadowdiffusion.export.photos import ellipse, synthetic

Array = npt.NDArray[np.float32]


class Network(NamedTuple):
    """A graph, and the inputs that are no images: of a denoiser the `row` of its time table."""

    model: onnx.ModelProto
    others: dict[str, Array]


def images(model: onnx.ModelProto, batch: int, height: int, width: int) -> dict[str, Any]:
    """A scene with its mask, and normal values for every other image that the graph takes.

    Not noise for a mask: the network then predicts a shadow that is all but zero, with no digits to compare.
    """
    rng = np.random.default_rng(5)
    known = {"image": 2 * synthetic(height, width)[None] - 1, "mask": ellipse(height, width)}
    feed = dict[str, Any]()
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            found = known.get(value.name, rng.standard_normal((batch, dims[1].dim_value, height, width)))
            feed[value.name] = np.repeat(found, batch // len(found), axis=0).astype(np.float32)
    return feed


def run(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Array]:
    """All outputs, by ONNX Runtime's own kernels for the graph as it is written: nothing is optimised."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, feed)
    return outputs


def worst_difference(network: Network, changed: onnx.ModelProto, batch: int, height: int, width: int) -> float:
    """Largest relative L2 difference between the outputs of two graphs."""
    feed = images(network.model, batch, height, width) | network.others
    pairs = zip(run(changed, feed), run(network.model, feed), strict=True)
    return max(float(np.linalg.norm(found - truth) / np.linalg.norm(truth)) for found, truth in pairs)


def kinds(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op_type for node in model.graph.node]
