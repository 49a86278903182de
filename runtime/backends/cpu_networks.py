"""A bundle whose denoiser and mask head are run by the project's own CPU kernels, and its prior by ONNX Runtime."""

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.backends.cpu_library import Network
from runtime.backends.networks import check_finite
from runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks, failure
from runtime.bundle.folder import Bundle
from runtime.cores import usable_cores
from runtime.engines.store import StoredEngine
from runtime.errors import RestoreError

Array = npt.NDArray[np.float32]


class CpuNetworks(OnnxRuntimeNetworks):
    """The networks of one bundle, as `runtime.backends.networks.Networks`; images of a batch run one after the other.

    threads: CPU threads per network, None for one per core. engine: of the backend "cpu-kernels". Raises RestoreError
    where ONNX Runtime is missing.
    """

    def __init__(self, bundle: Bundle, threads: int | None, engine: StoredEngine) -> None:
        super().__init__(bundle, "cpu", threads)
        self._threads = min(threads or usable_cores(), usable_cores())
        self._plans = {name: engine.path / network.file for name, network in engine.record.networks.items()}
        self._networks: dict[str, Network] = {}
        self._networks_lock = threading.Lock()
        self.title = f"engine {engine.name}"

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Outputs of one graph. Raises RestoreError."""
        if name not in self._plans:
            return super().run(name, inputs, wanted)
        network = self._network(name, self._plans[name])
        try:
            outputs = network.run_batch(inputs, wanted)
        except RestoreError as error:
            raise failure(name, next(iter(inputs.values())).shape, error) from error
        check_finite(name, dict(zip(wanted, outputs, strict=True)))
        return outputs

    def _network(self, name: str, path: Path) -> Network:
        with self._networks_lock:
            if name not in self._networks:
                self._networks[name] = Network(path, self._threads)
            return self._networks[name]
