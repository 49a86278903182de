"""The denoiser without its mask head: only what the noise needs. Exact.

    (noise, shadow) = (N(f), M(f)) with f = F(image, mask, x_t, row)    ->    noise = N(F(image, mask, x_t, row))

Most steps read the noise alone. ONNX Runtime runs only the path to the outputs that are asked for, so there one graph
serves both; TensorRT gets a second engine from this graph. The weights are stored once, in the bundle's denoiser.onnx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.errors import ExportError
from export.passes.fold import drop_dead

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
