"""A bundle whose networks are run by the project's own CPU kernels, and those that its engine lacks by ONNX Runtime."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.backends.cpu_library import Network
from shadowdiffusion.runtime.backends.failures import failure
from shadowdiffusion.runtime.bundle.engines import StoredEngine
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.cores import check_threads, usable_cores
from shadowdiffusion.runtime.errors import RestoreError
from shadowdiffusion.runtime.forking import survive_forks
from shadowdiffusion.runtime.loop.networks import GraphNetworks, check_finite

Array = npt.NDArray[np.float32]

OTHERS = "others"
"""Stands for every network that the engine has no plan of: one ONNX Runtime for them all."""


class CpuNetworks(GraphNetworks):
    """The networks of one bundle, as `runtime.loop.networks.Networks`; images of a batch run one after the other.

    threads: CPU threads per network, None for one per core. engine: of the backend "cpu-kernels". Networks are opened
    when first needed. Raises RestoreError for less than one thread.
    """

    on_host = True

    def __init__(self, bundle: Bundle, threads: int | None, engine: StoredEngine) -> None:
        super().__init__(read_rows(bundle), MASK_HEAD in bundle.manifest.files)
        check_threads(threads)
        self._bundle, self._threads = bundle, min(threads or usable_cores(), usable_cores())
        self._plans = {name: engine.path / network.file for name, network in engine.record.networks.items()}
        self._networks: dict[str, Future[GraphNetworks | Network]] = {}
        self._opener = ThreadPoolExecutor(1, "opener")
        self._lock = threading.Lock()
        survive_forks(self)
        self.title, self.used = f"engine {engine.name}", engine.used

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Outputs of one graph. Raises RestoreError."""
        network = self._opening(name).result()
        if isinstance(network, GraphNetworks):
            return network.run(name, inputs, wanted)
        try:
            outputs = network.run_batch(inputs, wanted)
        except RestoreError as error:
            raise failure(name, next(iter(inputs.values())).shape, error) from error
        check_finite(name, dict(zip(wanted, outputs, strict=True)))
        return outputs

    def prefetch(self) -> None:
        """Begin to open the networks that every photo needs; whatever goes wrong is raised when they run."""
        for name in (PRIOR, DENOISER):
            if name in self._bundle.manifest.files:
                self._opening(name)

    def before_fork(self) -> None:
        """Wait until no network is being opened."""
        self._lock.acquire()
        wait(self._networks.values())

    def after_fork(self, child: bool) -> None:
        """In the new process keep the networks, whose library begins its threads anew, but not the opener's."""
        if not child:
            self._lock.release()
            return
        self._opener, self._lock = ThreadPoolExecutor(1, "opener"), threading.Lock()

    def _opening(self, name: str) -> "Future[GraphNetworks | Network]":
        """One after the other in a thread of their own, beside whatever comes before the networks."""
        key = name if name in self._plans else OTHERS
        with self._lock:
            if key not in self._networks or (self._networks[key].done() and self._networks[key].exception()):
                self._networks[key] = self._opener.submit(self._open, key)
            return self._networks[key]

    def _open(self, name: str) -> GraphNetworks | Network:
        if name != OTHERS:
            return Network(self._plans[name], self._threads)
        from shadowdiffusion.runtime.backends.onnxruntime_networks import OnnxRuntimeNetworks

        return OnnxRuntimeNetworks(self._bundle, "cpu", self._threads)
