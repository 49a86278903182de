"""The networks of a bundle as graphs in memory, run by ONNX Runtime on the CPU, to measure what a precision costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shadowdiffusion.export.precision.simulate import TOTAL
from shadowdiffusion.runtime.bundle.folder import MASK_HEAD
from shadowdiffusion.runtime.loop.networks import GraphNetworks, Used

if TYPE_CHECKING:
    from onnx import ModelProto

Array = npt.NDArray[np.float32]
Feed = dict[str, Array]


class NotFinite(Exception):
    """A network returned infinity or no number, or a half-precision value inside it overflowed."""


class SessionNetworks(GraphNetworks):
    """`runtime.loop.networks.Networks` over sessions by file name (see `session`).

    rows: the time table if the denoiser reads one. record: a list that collects the inputs of every call, with the
    file name. Calls raise NotFinite.
    """

    title = "graphs in memory, by ONNX Runtime on the CPU"
    used = Used("onnxruntime", None, "fp32", "cpu")

    def __init__(
        self,
        sessions: Mapping[str, Any],
        rows: Array | None = None,
        record: list[tuple[str, Feed]] | None = None,
    ) -> None:
        super().__init__(rows, MASK_HEAD in sessions)
        self.sessions, self.record = sessions, record

    def run(self, name: str, inputs: Feed, wanted: list[str]) -> list[Array]:
        """Outputs of one graph. Raises NotFinite."""
        if self.record is not None:
            self.record.append((name, {key: array.copy() for key, array in inputs.items()}))
        running = self.sessions[name]
        known = [value.name for value in running.get_outputs()]
        found: list[Array] = running.run([*wanted, TOTAL] if TOTAL in known else wanted, inputs)
        if not all(np.isfinite(array).all() for array in found):
            raise NotFinite(name)
        return found[: len(wanted)]


def session(graph: ModelProto, optimized: bool = True) -> Any:
    """An ONNX Runtime session on the CPU that leaves the processor to others while it waits.

    optimized: let ONNX Runtime fuse operators, which it must not where a simulation is to round.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
