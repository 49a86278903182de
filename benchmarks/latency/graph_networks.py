"""Graphs in memory as the networks of our loop, in sessions like those of the runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shadowdiffusion.runtime.backends.onnxruntime_networks import open_session
from shadowdiffusion.runtime.bundle.engines import Provider, SessionSettings
from shadowdiffusion.runtime.bundle.folder import MASK_HEAD
from shadowdiffusion.runtime.loop.networks import Array, GraphNetworks, Used, check_finite

if TYPE_CHECKING:
    from onnx import ModelProto


class GraphsInMemory(GraphNetworks):
    """`Networks` over graphs by file name. rows: the time table, if the denoiser reads one."""

    title = "graphs in memory, by ONNX Runtime"

    def __init__(
        self, graphs: Mapping[str, ModelProto], rows: Array | None, provider: Provider, settings: SessionSettings
    ) -> None:
        super().__init__(rows, MASK_HEAD in graphs)
        self.on_host, self.used = provider == "cpu", Used("onnxruntime", None, "fp32", provider)
        self._sessions = {
            name: open_session(graph.SerializeToString(), provider, settings) for name, graph in graphs.items()
        }

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """As `GraphNetworks`."""
        outputs: list[Array] = self._sessions[name].run(wanted, inputs)
        check_finite(name, dict(zip(wanted, outputs, strict=True)))
        return outputs
