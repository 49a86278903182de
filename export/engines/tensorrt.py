"""ONNX network -> engine, with TensorRT 10 and 11 or TensorRT for RTX: one API under two module names.

Networks are strongly typed, which is all that TensorRT 11 and TensorRT for RTX know: the precision of every value
comes from the graph (`export.precision.mixed`), and TF32 is off. TensorRT for RTX builds without a GPU, for the SMs it
is told. What it builds has not been run on a GPU yet; full TensorRT has not been run at all.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shadowdiffusion.export.background import in_background
from shadowdiffusion.export.commands.console import Progress, Report
from shadowdiffusion.export.engines.asked_passes import apply_asked
from shadowdiffusion.export.engines.builder_output import make_logger, make_monitor
from shadowdiffusion.export.engines.group_norm_plugin import check_plugins, register_plugins
from shadowdiffusion.export.engines.job import Backend, BuildFailure, Job, Parts
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.layers import record_layers
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import GROUP_NORM_PLUGIN, PASSES
from shadowdiffusion.export.sizes import shape_at
from shadowdiffusion.runtime.backends.tensorrt_networks import STRIPPED
from shadowdiffusion.runtime.bundle.device import find_gpu
from shadowdiffusion.runtime.bundle.engines import TITLES, BackendName, EngineKey, NetworkRecord
from shadowdiffusion.runtime.bundle.folder import Bundle, Note
from shadowdiffusion.runtime.packages import install_command
from shadowdiffusion.runtime.replacing import replaced
from shadowdiffusion.runtime.selection.fit import AMPERE, MODULES
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes

if TYPE_CHECKING:
    from onnx import ModelProto

LEAST_SM = {"bf16": 80, "fp8": 89}
"""Where products in that precision begin."""
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
        if options.passes.get(GROUP_NORM_PLUGIN.name):
            check_plugins(self.module, self.title, key, options)
        if self.name == "tensorrt":
            if key.device is None:
                raise ExportError("TensorRT needs the GPU it builds for, and none is found: use --backend tensorrt-rtx")
            if options.hardware_compatible and key.sm[0] < AMPERE:
                raise ExportError(f"hardware-compatible engines are built on SM {AMPERE} or later: this is {key.sm[0]}")
        else:
            supported = self.supported_sms()
            if wrong := [sm for sm in key.sm if sm not in supported]:
                known = ", ".join(map(str, supported))
                raise ExportError(f"{self.title} cannot build for SM {wrong[0]}: it can for {known}")
            if options.strip_weights and find_gpu() is None:
                advice = "leave out --strip-weights, or build on a machine with one"
                raise ExportError(f"{self.title} needs a GPU to make engines whose weights can be replaced: {advice}")
            if not key.sm:
                report("no --sm is given and no GPU is found: building a portable engine for any GPU it supports")
        least = LEAST_SM.get(key.precision, 0)
        if wrong := [sm for sm in key.sm if sm < least]:
            raise ExportError(f"{key.precision} needs SM {least} or later, not {wrong[0]}: choose another --precision")

    def compile(self, job: Job) -> Parts:
        """One engine file for every network."""
        graphs, notes = apply_asked(job)
        graphs, own = apply_own(job, graphs)
        if job.options.passes.get(GROUP_NORM_PLUGIN.name):
            register_plugins(self.module, job.key.sm[0])
        networks = dict[str, NetworkRecord]()
        for name, graph in graphs.items():
            job.report(f"building the engine of {name}")
            started = time.perf_counter()
            built = self._compile(job, name, graph)
            seconds = round(time.perf_counter() - started, 2)
            file = f"{name.removesuffix('.onnx')}.engine"
            (job.folder / file).write_bytes(memoryview(built.engine))
            networks[name] = NetworkRecord(file, seconds, built.tensors)
            if STRIPPED in job.key.flags and not _has_weights(job.bundle, name, graph):
                (job.folder / name).write_bytes(graph.SerializeToString())
        record_layers(job, graphs)
        return Parts(networks, notes + own, status=STATUS)

    def _compile(self, job: Job, name: str, graph: ModelProto) -> Built:
        cache = job.caches / f".timing-{self.name}-{self.version}.cache"
        try:
            with job.bar(name) as progress:
                built = build(self, graph, job.key, job.options.workspace, read_cache(cache), progress)
        except BuildFailure as error:
            raise BuildFailure(f"{name}: {error}", error.log) from error
        if built.timing_cache:
            with replaced(cache) as file:
                file.write(built.timing_cache)
        return built


def apply_own(job: Job, graphs: Mapping[str, ModelProto]) -> tuple[dict[str, ModelProto], list[Note]]:
    """The graphs after the passes that are for TensorRT alone, unless switched off, and a note for each that fitted."""
    changed, notes = dict(graphs), list[Note]()
    for item in PASSES:
        if item.stage != "tensorrt" or item.apply is None or not job.options.passes.get(item.name, item.default):
            continue
        passed = {name: item.apply(graph) for name, graph in changed.items()}
        fitted = [name for name in passed if passed[name].graph.node != changed[name].graph.node]
        if fitted:
            notes.append(Note(item.name, item.exactness, f"{item.summary}; in {' and '.join(fitted)}"))
        changed = passed
    return changed, notes


def load_tensorrt(name: BackendName) -> Backend:
    """Import a TensorRT. Raises ExportError that says what to install, or that the other one is here."""
    try:
        module = importlib.import_module(MODULES[name])
        module.__version__, module.Builder  # noqa: B018  a folder of that name, or half an installation, has neither
    except (ImportError, AttributeError, OSError) as error:
        other: BackendName = "tensorrt" if name == "tensorrt-rtx" else "tensorrt-rtx"
        advice = install_command(name)
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
    backend: TensorRT, graph: ModelProto, key: EngineKey, workspace: int | None, timing_cache: bytes, progress: Progress
) -> Built:
    """Build the engine of one ONNX `graph` for the SMs, sizes and level in `key`.

    An interrupt (Ctrl-C, SIGTERM) ends the build at its next step. Raises BuildFailure with the log.
    """
    monitor, logger = make_monitor(backend.module, progress), make_logger(backend.module)

    def cancel() -> None:
        monitor.cancelled = True

    return in_background(lambda: _build(backend, graph, key, workspace, timing_cache, monitor, logger), cancel)


def _build(
    backend: TensorRT, graph: ModelProto, key: EngineKey, workspace: int | None, cache: bytes, monitor: Any, logger: Any
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
    if not parser.parse(graph.SerializeToString()):
        raise failure(str(parser.get_error(0)) if parser.num_errors else "it cannot read the network")
    config = builder.create_builder_config()
    config.builder_optimization_level = key.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that `inspect` can list what was fused
    config.clear_flag(trt.BuilderFlag.TF32)
    for flag in _flags(backend.name, key):
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if "hardware-compatible" in key.flags:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
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
    tensors = _add_profile(builder, network, config, key, graph)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise failure("it gave no reason")
    return Built(engine, tensors, None if timing is None else bytes(timing.serialize()))


def _flags(backend: BackendName, key: EngineKey) -> list[str]:
    """The builder's flags for those of the key."""
    flags = []
    if STRIPPED in key.flags:
        # the weights given back are the same: full refit gave wrong results in a release of TensorRT. TensorRT for RTX
        # documents the full refit only
        flags += ["STRIP_PLAN", "REFIT_IDENTICAL" if backend == "tensorrt" else "REFIT"]
    if "version-compatible" in key.flags:
        flags.append("VERSION_COMPATIBLE")
    return flags


def _has_weights(bundle: Bundle, name: str, graph: ModelProto) -> bool:
    """Whether the file `name` of the bundle has every constant of `graph`, under the same name."""
    import onnx

    stored = onnx.load_model(bundle.path / name).graph
    constants = {tensor.name: tensor for tensor in stored.initializer}
    constants |= {
        node.output[0]: node.attribute[0].t
        for node in stored.node
        if node.op_type == "Constant" and node.attribute[0].name == "value"
    }
    return all(
        tensor.name in constants
        and tensor.data_type == constants[tensor.name].data_type
        and (onnx.numpy_helper.to_array(tensor) == onnx.numpy_helper.to_array(constants[tensor.name])).all()
        for tensor in graph.graph.initializer
    )


def _add_profile(
    builder: Any, network: Any, config: Any, key: EngineKey, graph: ModelProto
) -> dict[str, dict[str, Any]]:
    """Give every input its smallest, best and largest shape; returns what the engine takes and gives."""
    profile, tensors = builder.create_optimization_profile(), dict[str, dict[str, Any]]()
    sizes = [(n, *size) for n, size in zip(batch_sizes(key), image_sizes(key), strict=True)]
    inputs = {value.name: value for value in graph.graph.input}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shapes = [shape_at(inputs[tensor.name], *size) for size in sizes]
        profile.set_shape(tensor.name, *shapes)
        ranges = dict(zip(("min", "opt", "max"), map(list, shapes), strict=True))
        tensors[tensor.name] = {"kind": "input", "dtype": tensor.dtype.name, **ranges}
    for index in range(network.num_outputs):
        tensor = network.get_output(index)
        tensors[tensor.name] = {"kind": "output", "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
    config.add_optimization_profile(profile)
    return tensors


def read_cache(path: Path) -> bytes:
    """The bytes of a timing cache, none if there is no such file yet."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
