"""Everything the denoiser computes from the timestep alone becomes a table with one row per timestep. Exact.

    v_i = p_i(e(t)),  i = 1 .. B     ->     row(t) = [v_1(t), ..., v_B(t)],  computed once, at export

e is the time embedding (sinusoids and two layers), p_i the projection in residual block i. The graph takes `row`
float32[1, K] in place of `t` and splits it; sampling needs a row for every timestep of the bundle's tables. That also
removes the sines of large phases, which half precision cannot hold, from every engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.fold import drop_dead

if TYPE_CHECKING:
    from onnx import ModelProto

TIME, ROW = "t", "row"


def apply(model: ModelProto, timesteps: Sequence[int]) -> tuple[ModelProto, npt.NDArray[np.float32]]:
    """A copy of the denoiser `model` with the input `row`, and the rows float32 [len(timesteps), K].

    Raises ExportError for a graph without the input `t`, or in which the timestep is more than such values.
    """
    from onnx import ModelProto, TensorProto, helper

    if TIME not in [value.name for value in model.graph.input]:
        raise ExportError(f"the graph has no input {TIME!r}: it is no denoiser, or has its time table already")
    result = ModelProto()
    result.CopyFrom(model)
    _batch_from_image(result)
    timed = _timed(result)
    values = _frontier(result, timed)
    tables = _evaluate(result, values, timesteps)
    graph = result.graph
    widths = [int(np.prod(table.shape[1:])) for table in tables]
    names = [f"{name}.row" for name in values]
    split = helper.make_node("Split", [ROW, f"{ROW}.widths"], names, name=f"{ROW}.split", axis=1)
    reshapes = [
        helper.make_node("Reshape", [f"{name}.row", f"{name}.shape"], [name], name=f"{name}.reshape") for name in values
    ]
    shapes = {f"{ROW}.widths": widths} | {
        f"{name}.shape": [1, *table.shape[1:]] for name, table in zip(values, tables, strict=True)
    }
    rest = [node for node in graph.node if not timed.intersection(node.output)]
    inputs = [value for value in graph.input if value.name != TIME]
    del graph.node[:], graph.input[:]
    graph.node.extend([split, *reshapes, *rest])
    graph.input.extend([*inputs, helper.make_tensor_value_info(ROW, TensorProto.FLOAT, [1, sum(widths)])])
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape) for name, shape in shapes.items()
    )
    rows = np.concatenate([table.reshape(len(timesteps), -1) for table in tables], axis=1)
    return drop_dead(result), np.ascontiguousarray(rows, np.float32)


def _batch_from_image(model: ModelProto) -> None:
    """Where the graph takes the batch size from the timesteps, take it from x_t, in place."""
    from onnx import helper

    for node in model.graph.node:
        if node.op_type == "Shape" and node.input[0] == TIME:
            node.input[0] = "x_t"
            del node.attribute[:]
            node.attribute.extend([helper.make_attribute("start", 0), helper.make_attribute("end", 1)])


def _timed(model: ModelProto) -> set[str]:
    """Names of the timestep and of every value computed from it and constants alone."""
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    timed = {TIME}
    for node in graph.node:
        inputs = {name for name in node.input if name}
        if inputs <= constant:
            constant.update(node.output)
        elif inputs <= constant | timed:
            timed.update(node.output)
    return timed


def _frontier(model: ModelProto, timed: set[str]) -> list[str]:
    """The timed values that the rest of the graph reads, in the order in which it does."""
    graph = model.graph
    outside = [node for node in graph.node if not timed.intersection(node.output)]
    read = dict.fromkeys(name for node in outside for name in node.input if name in timed)
    if TIME in read or any(value.name in timed for value in graph.output) or not read:
        raise ExportError("the graph mixes the timestep itself with the image: export with --without time-table")
    return list(read)


def _evaluate(model: ModelProto, values: Sequence[str], timesteps: Sequence[int]) -> list[npt.NDArray[np.float32]]:
    """The values float32 [R, ...] at R timesteps, by ONNX Runtime, in the float32 that the graph itself would use."""
    from onnx import ModelProto, TensorProto, helper

    from shadowdiffusion.runtime.backends.onnxruntime_networks import open_session
    from shadowdiffusion.runtime.bundle.engines import SessionSettings

    part = ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    inputs = [value for value in graph.input if value.name == TIME]
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values)
    part = drop_dead(part)
    session = open_session(
        part.SerializeToString(), "cpu", SessionSettings(threads=0, spinning=True, provider_options={})
    )
    found: list[npt.NDArray[np.float32]] = session.run(values, {TIME: np.asarray(timesteps, np.float32)})
    for name, table in zip(values, found, strict=True):
        if table.shape[:1] != (len(timesteps),):
            raise ExportError(f"{name} has no row per timestep ({table.shape}): export with --without time-table")
    return found
