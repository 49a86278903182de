"""The networks of a bundle as graphs in memory, run by ONNX Runtime on the CPU, to measure what a precision costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from export.precision.simulate import TOTAL
from runtime.bundle import DENOISER, PRIOR, Step

if TYPE_CHECKING:
    from onnx import ModelProto

Array = npt.NDArray[np.float32]
Feed = dict[str, Array]


class NotFinite(Exception):
    """A network returned infinity or no number, or a half-precision value inside it overflowed."""


class GraphNetworks:
    """`runtime.networks.Networks` over sessions by file name (see `session`).

    rows: the time table if the denoiser reads one. record: a list that collects the inputs of every call, with the
    file name. Calls raise NotFinite.
    """

    title = "graphs in memory, by ONNX Runtime on the CPU"

    def __init__(
        self,
        sessions: Mapping[str, Any],
        rows: Array | None = None,
        record: list[tuple[str, Feed]] | None = None,
    ) -> None:
        self.sessions, self.rows, self.record = sessions, rows, record

    def prior(self, image: Array, mask: Array) -> tuple[Array, Array]:
        """Clean image and matte."""
        clean, matte = self._run(PRIOR, {"image": image, "mask": mask}, ["clean", "matte"])
        return clean, matte

    def denoise(self, y: Array, mask: Array, x_t: Array, step: Step, with_mask: bool) -> tuple[Array, Array | None]:
        """Noise and, if asked for, the shadow mask."""
        feed = {"image": y, "mask": mask, "x_t": x_t}
        if self.rows is None:
            feed["t"] = np.full(len(y), step.t, np.float32)
        else:
            assert step.row is not None
            feed["row"] = self.rows[step.row : step.row + 1]
        outputs = self._run(DENOISER, feed, ["noise", "shadow"] if with_mask else ["noise"])
        return outputs[0], outputs[1] if with_mask else None

    def _run(self, name: str, feed: Feed, outputs: list[str]) -> list[Array]:
        if self.record is not None:
            self.record.append((name, {key: array.copy() for key, array in feed.items()}))
        running = self.sessions[name]
        known = [value.name for value in running.get_outputs()]
        found: list[Array] = running.run([*outputs, TOTAL] if TOTAL in known else outputs, feed)
        if not all(np.isfinite(array).all() for array in found):
            raise NotFinite(name)
        return found[: len(outputs)]


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
