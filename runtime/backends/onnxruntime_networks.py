"""The two networks of a bundle, run by ONNX Runtime on the CPU or on CUDA."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from shadowdiffusion.runtime.backends.device_inputs import DeviceInputs
from shadowdiffusion.runtime.backends.failures import failure, one_line
from shadowdiffusion.runtime.bundle.engines import Device, Provider, SessionSettings, StoredEngine
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Bundle
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.cores import check_threads, cores, usable_cores
from shadowdiffusion.runtime.errors import BundleError, RestoreError, tell
from shadowdiffusion.runtime.forking import AFTER_CUDA, abandon, survive_forks
from shadowdiffusion.runtime.loop.networks import GraphNetworks, Used, check_finite

if TYPE_CHECKING:
    import onnxruntime

Array = npt.NDArray[np.float32]

PORTABLE_CUDA = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
"""float32 as promised, and no search for the fastest convolution at every new size, which takes seconds each."""


class OnnxRuntimeNetworks(GraphNetworks):
    """The networks of one bundle, as `runtime.loop.networks.Networks`. Sessions are created when first needed.

    device "cpu", "cuda", or "auto": CUDA where ONNX Runtime offers it and it starts, else the CPU.
    `threads`: CPU threads per network, None for one per core, which is the most. `engine`: an engine of ONNX Runtime,
    whose graphs and settings are used instead of the bundle's. Raises RestoreError for a device that cannot be had.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device = "auto",
        threads: int | None = None,
        engine: StoredEngine | None = None,
    ) -> None:
        check_threads(threads)
        self._bundle, self._engine = bundle, engine
        self.provider = _provider(device)
        """Where they run, unless CUDA does not start, which shows when the first is opened."""
        usual = SessionSettings(0, True, PORTABLE_CUDA if self.provider == "cuda" else {})
        settings = (engine.record.session if engine else None) or usual
        self._settings = msgspec.structs.replace(settings, threads=_sensible(threads or settings.threads))
        super().__init__(read_rows(bundle), MASK_HEAD in bundle.manifest.files)
        time, last = "t" if self._rows is None else "row", "features" if self._has_head else "shadow"
        self._signatures = {
            PRIOR: ({"image", "mask"}, {"clean", "matte"}),
            DENOISER: ({"image", "mask", "x_t", time}, {"noise", last}),
            MASK_HEAD: ({"features"}, {"shadow"}),
        }
        self.on_host = self.provider == "cpu"
        self._required = "CUDAExecutionProvider" if device == "cuda" else None
        self._sessions: dict[str, Future[onnxruntime.InferenceSession]] = {}
        self._opener = ThreadPoolExecutor(1, "opener")
        self._device_inputs = DeviceInputs("cuda")
        self._lock = threading.Lock()
        self._process = os.getpid()
        survive_forks(self)
        portable = f"ONNX Runtime on {'CUDA' if self.provider == 'cuda' else 'the CPU'}"
        self.title = f"engine {engine.name}" if engine else portable
        self.used = engine.used if engine else Used("onnxruntime", None, "fp32", self.provider)

    def run(self, name: str, inputs: dict[str, Array], wanted: list[str]) -> list[Array]:
        """Outputs of one graph. Raises RestoreError."""
        session = self._session(name)
        outputs: list[Array]
        try:
            if name == DENOISER and "CUDAExecutionProvider" in session.get_providers():
                outputs = self._device_inputs.run(session, wanted, inputs)
            else:
                outputs = session.run(wanted, inputs)
        except Exception as error:  # ONNX Runtime has no common base for its own exceptions
            raise failure(name, next(iter(inputs.values())).shape, error) from error
        check_finite(name, dict(zip(wanted, outputs, strict=True)))
        return outputs

    def start(self) -> None:
        """Open the denoiser now. Raises RestoreError where its device does not start."""
        self._session(DENOISER)

    def prefetch(self) -> None:
        """Begin to open the networks that every photo needs; whatever goes wrong is raised when they run."""
        for name in (PRIOR, DENOISER):
            if name in self._bundle.manifest.files:
                self._opening(name)

    def before_fork(self) -> None:
        """Wait until no session is being opened, which takes locks of ONNX Runtime's."""
        self._lock.acquire()
        wait(self._sessions.values())

    def after_fork(self, child: bool) -> None:
        """In the new process open all sessions anew when they are needed: their threads are not there."""
        if not child:
            self._lock.release()
            return
        abandon((self._sessions, self._device_inputs))
        self._sessions, self._device_inputs = {}, DeviceInputs("cuda")
        self._opener, self._lock = ThreadPoolExecutor(1, "opener"), threading.Lock()

    def _session(self, name: str) -> "onnxruntime.InferenceSession":
        return self._opening(name).result()

    def _opening(self, name: str) -> "Future[onnxruntime.InferenceSession]":
        """One after the other in a thread of their own, beside whatever comes before the networks."""
        if self.provider == "cuda" and os.getpid() != self._process:
            raise RestoreError(AFTER_CUDA)
        with self._lock:
            if name not in self._sessions or (self._sessions[name].done() and self._sessions[name].exception()):
                self._sessions[name] = self._opener.submit(self._open, name)
            return self._sessions[name]

    def _open(self, name: str) -> "onnxruntime.InferenceSession":
        path = self._bundle.path / name
        if self._engine:
            path = self._engine.path / self._engine.record.networks[name].file
        optimized = self._engine is not None and self.provider == "cpu"
        try:
            session = open_session(str(path), self.provider, self._settings, optimized)
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {path}: {one_line(error)}") from error
        if self._required and self._required not in session.get_providers():
            raise RestoreError("ONNX Runtime could not start CUDA: check the driver, or use the CPU")
        found = tuple({node.name for node in nodes} for nodes in (session.get_inputs(), session.get_outputs()))
        if found != self._signatures[name]:
            maps = [f"{sorted(inputs)} to {sorted(outputs)}" for inputs, outputs in (found, self._signatures[name])]
            raise BundleError(f"{path} maps {maps[0]}, expected {maps[1]}")
        return session


def _sensible(threads: int) -> int:
    """CPU threads, 0 for one per core: ONNX Runtime knows the cores, but not that a container has them in part only."""
    allowed = usable_cores()
    if threads == 0:
        return allowed if allowed < cores() else 0
    return min(threads, allowed)


def open_session(
    graph: str | bytes, provider: Provider, settings: SessionSettings, optimized: bool = False, save: str | None = None
) -> "onnxruntime.InferenceSession":
    """A session for a file or a serialised graph. 0 threads are one per core.

    optimized: the graph is to be run as it is, since ONNX Runtime has written it. save: a file for what ONNX Runtime
    makes of the graph. Raises whatever ONNX Runtime raises.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is worth saying arrives as an exception
    options.intra_op_num_threads = settings.threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if settings.spinning else "0")
    if optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save:
        options.optimized_model_filepath = save
    providers: list[Any] = ["CPUExecutionProvider"]
    if provider == "cuda":
        providers.insert(0, ("CUDAExecutionProvider", settings.provider_options))
    return onnxruntime.InferenceSession(graph, options, providers=providers)


def _provider(device: Device) -> Provider:
    """The ONNX Runtime provider to ask for; where it does not start, the CPU takes over."""
    try:
        import onnxruntime
    except ImportError as error:
        raise RestoreError(f"ONNX Runtime is missing ({error}): pip install onnxruntime") from error
    if all(map(_is_installed, ("onnxruntime", "onnxruntime-gpu"))):
        both = "onnxruntime and onnxruntime-gpu are both installed, which disables the GPU"
        tell(f"{both}: uninstall both, then install one", stacklevel=2)
    available = onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and "CUDAExecutionProvider" not in available):
        return "cpu"
    if device not in ("auto", "cuda"):
        raise RestoreError(f"device {device!r} is unknown: choose auto, cpu or cuda")
    if "CUDAExecutionProvider" not in available:
        raise RestoreError("this ONNX Runtime has no CUDA: install onnxruntime-gpu instead of onnxruntime")
    # CUDA and cuDNN installed by pip are not on the loader's path: ONNX Runtime has to be told to look for them
    onnxruntime.preload_dlls()
    return "cuda"


def has_cuda() -> bool:
    """Whether the installed ONNX Runtime has a CUDA provider; whether that starts shows when a session opens."""
    return _provider("auto") == "cuda"


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
