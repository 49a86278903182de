"""ONNX network -> engine, with TensorRT 10 and 11 or TensorRT for RTX: one API under two module names.

Networks are strongly typed, which is all that TensorRT 11 and TensorRT for RTX know: the precision of every value
comes from the graph (`export.precision.mixed`), and TF32 is off. TensorRT for RTX builds without a GPU, for the SMs it
is told. What it builds has not been run on a GPU yet; full TensorRT has not been run at all.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.console import Progress, Report
from export.engines.job import Backend, BuildFailure, Job, Parts
from export.engines.key import EngineOptions
from export.engines.store import write_whole
from export.errors import ExportError
from runtime.engines import TITLES, BackendName, EngineKey, NetworkRecord
from runtime.profile import batch_sizes, image_sizes

MODULES: dict[BackendName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
LOG_LINES = 20_000
STATUS = "not run on a GPU yet"


@dataclass(frozen=True)
class TensorRT:
    """An imported TensorRT, as `export.engines.job.Backend`."""

    name: BackendName
    module: Any

    @property
    def version(self) -> str:
        """As the module gives it, such as 1.7.1.116."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """Name and version for people."""
        return f"{TITLES[self.name]} {self.version}"

    def supported_sms(self) -> list[int]:
        """SMs that can be built for without having one; none for the full TensorRT."""
        members = getattr(getattr(self.module, "ComputeCapability", None), "__members__", ())
        return sorted(int(name[2:]) for name in members if name.startswith("SM"))

    def check(self, key: EngineKey, options: EngineOptions, report: Report) -> None:
        """Raise ExportError unless it can build for the GPU or the SMs of the key."""
        if self.name == "tensorrt":
            if options.sm:
                advice = "leave out --sm, or use --backend tensorrt-rtx"
                raise ExportError(f"TensorRT builds for the GPU it runs on: {advice}")
            if key.device is None:
                raise ExportError("TensorRT needs the GPU it builds for, and none is found: use --backend tensorrt-rtx")
            return
        supported = self.supported_sms()
        if wrong := [sm for sm in key.sm if sm not in supported]:
            known = ", ".join(map(str, supported))
            raise ExportError(f"{self.title} cannot build for SM {wrong[0]}: it can for {known}")
        if not key.sm:
            report("no --sm is given and no GPU is found: building a portable engine for any GPU the backend supports")

    def compile(self, job: Job) -> Parts:
        """One engine file for every network."""
        networks = dict[str, NetworkRecord]()
        cache = job.caches / f".timing-{self.name}-{self.version}.cache"
        for name, graph in job.graphs.items():
            job.report(f"building the engine of {name}")
            file, started = f"{Path(name).stem}.engine", time.perf_counter()
            try:
                with job.bar(name) as progress:
                    raw = graph.SerializeToString()
                    built = build(self, raw, job.key, job.options.workspace, read_cache(cache), progress)
            except BuildFailure as error:
                raise BuildFailure(f"{name}: {error}", error.log) from error
            (job.folder / file).write_bytes(memoryview(built.engine))
            if built.timing_cache:
                write_whole(cache, built.timing_cache)
            networks[name] = NetworkRecord(file, round(time.perf_counter() - started, 2), built.tensors)
        return Parts(networks, status=STATUS)


def load_tensorrt(name: BackendName) -> Backend:
    """Import a TensorRT. Raises ExportError that says what to install, or that the other one is here."""
    try:
        module = importlib.import_module(MODULES[name])
        module.__version__, module.Builder  # noqa: B018  a folder of that name, or half an installation, has neither
    except (ImportError, AttributeError, OSError) as error:
        other: BackendName = "tensorrt" if name == "tensorrt-rtx" else "tensorrt-rtx"
        advice = f"pip install {name}"
        if importlib.util.find_spec(MODULES[other]) is not None:
            advice += f", or use --backend {other}, which is installed"
        raise ExportError(f"{TITLES[name]} is not installed ({error}): {advice}") from error
    return TensorRT(name, module)


@dataclass(frozen=True)
class Built:
    """A serialised engine (a buffer), its inputs and outputs, and the timing cache to keep, if any."""

    engine: Any
    tensors: dict[str, dict[str, Any]]
    timing_cache: bytes | None


def build(
    backend: TensorRT, graph: bytes, key: EngineKey, workspace: int | None, timing_cache: bytes, progress: Progress
) -> Built:
    """Build the engine of one serialised ONNX `graph` for the SMs, sizes and level in `key`.

    The work is done in a thread, so that an interrupt (Ctrl-C, SIGTERM) is seen at once and ends the build at its
    next step. Raises BuildFailure with the log.
    """
    monitor, logger = _monitor(backend.module, progress), _logger(backend.module)
    result: list[Built | BaseException] = []
    finished = threading.Event()  # a join() that was interrupted does not wait a second time before Python 3.13

    def work() -> None:
        try:
            result.append(_build(backend, graph, key, workspace, timing_cache, monitor, logger))
        except BaseException as error:
            result.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=work, name="engine builder")
    thread.start()
    try:
        finished.wait()
    except BaseException:
        monitor.cancelled = True
        finished.wait()
        raise
    finally:
        thread.join()
    (outcome,) = result
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _build(
    backend: TensorRT, graph: bytes, key: EngineKey, workspace: int | None, cache: bytes, monitor: Any, logger: Any
) -> Built:
    trt = backend.module

    def failure(reason: str) -> BuildFailure:
        errors = [line for line in logger.lines if line.startswith(("ERROR", "INTERNAL_ERROR"))]
        reason = errors[0].partition(": ")[2] if errors else reason
        return BuildFailure(f"{backend.title} could not build the engine: {reason}", logger.lines)

    builder = trt.Builder(logger)
    # TensorRT 10 still has the weakly typed networks, so the flag must be given
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        raise failure(str(parser.get_error(0)) if parser.num_errors else "it cannot read the network")
    config = builder.create_builder_config()
    config.builder_optimization_level = key.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)
    config.progress_monitor = monitor
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace * 2**20)
    if backend.name == "tensorrt-rtx" and key.sm:
        config.num_compute_capabilities = len(key.sm)
        for index, sm in enumerate(key.sm):
            config.set_compute_capability(trt.ComputeCapability.__members__[f"SM{sm}"], index)
    timing = None
    if backend.name == "tensorrt":  # TensorRT for RTX compiles without timing anything
        timing = config.create_timing_cache(cache) or config.create_timing_cache(b"")
        config.set_timing_cache(timing, ignore_mismatch=False)
    tensors = _add_profile(builder, network, config, key)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise failure("it gave no reason")
    return Built(engine, tensors, None if timing is None else bytes(timing.serialize()))


def _add_profile(builder: Any, network: Any, config: Any, key: EngineKey) -> dict[str, dict[str, Any]]:
    """Give every input its smallest, best and largest shape; returns what the engine takes and gives."""
    profile, tensors = builder.create_optimization_profile(), dict[str, dict[str, Any]]()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        known = tuple(tensor.shape)  # -1 where it may vary: the batch, and of images height and width
        shapes = [
            tuple(
                wanted if size < 0 else size
                for size, wanted in zip(known, (n, 0, height, width)[: len(known)], strict=True)
            )
            for n, (height, width) in zip(batch_sizes(key), image_sizes(key), strict=True)
        ]
        profile.set_shape(tensor.name, *shapes)
        ranges = dict(zip(("min", "opt", "max"), map(list, shapes), strict=True))
        tensors[tensor.name] = {"kind": "input", "dtype": tensor.dtype.name, **ranges}
    for index in range(network.num_outputs):
        tensor = network.get_output(index)
        tensors[tensor.name] = {"kind": "output", "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
    config.add_optimization_profile(profile)
    return tensors


def _logger(trt: Any) -> Any:
    """Keeps the last lines of everything TensorRT says, for the log of a failure."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.lines.append(f"{severity.name}: {message}")
            if len(self.lines) > 2 * LOG_LINES:
                del self.lines[:LOG_LINES]

    return Logger()


def _monitor(trt: Any, progress: Progress) -> Any:
    """Reports progress and, once `cancelled` is set, asks the builder to stop."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = False
            self.phases = Phases(progress)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            self.phases.step(name, step)
            return not self.cancelled

        def phase_finish(self, name: str) -> None:
            self.phases.finish(name)

    return Monitor()


class Phases:
    """Nested phases of a build -> one fraction that never falls. Calls may come from any thread."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str | None, int, int]] = {}
        self._reached = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins inside `parent`."""
        with self._lock:
            self._open[name] = (parent, max(1, steps), 0)
            self._report(name)

    def step(self, name: str, step: int) -> None:
        """Step number `step`, from 0, of a phase is done."""
        with self._lock:
            if name in self._open:
                parent, steps, _ = self._open[name]
                self._open[name] = (parent, steps, step + 1)
                self._report(name)

    def finish(self, name: str) -> None:
        """A phase is over."""
        with self._lock:
            self._open.pop(name, None)

    def _report(self, name: str) -> None:
        fraction, at, depth = 0.0, name, 0
        while at in self._open and depth <= len(self._open):
            parent, steps, done = self._open[at]
            fraction = min(1.0, (done + fraction) / steps)
            if parent is None:
                self._reached = max(self._reached, fraction)
                break
            at, depth = parent, depth + 1
        self._progress(self._reached, name)


def read_cache(path: Path) -> bytes:
    """The bytes of a timing cache, none if there is no such file yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
