"""Engines of ONNX Runtime: graphs tuned by measurement, and for the CPU written out after its own optimisation.

All weights are inside, in float32: about twice a bundle with weights in float16.

The files for the CPU hold its blocked layouts (NCHWc) for the vector width of this CPU, which is why its name is in the
key; sessions open them as they are. Those for CUDA are plain graphs: ONNX Runtime cannot read back its channels-last
ones, and optimises them when it loads them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shadowdiffusion.export.engines.job import Backend, Job, Parts
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.layers import record_layers
from shadowdiffusion.export.engines.race import faster, milliseconds, race, steady
from shadowdiffusion.export.engines.tuning import Course, Feed, Tuned, choose_settings, tune
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import PASSES
from shadowdiffusion.export.photos import ellipse, synthetic
from shadowdiffusion.runtime.backends.onnxruntime_networks import open_session
from shadowdiffusion.runtime.bundle.engines import (
    TITLES,
    BackendName,
    EngineKey,
    NetworkRecord,
    Provider,
    SessionSettings,
)
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Bundle, Note
from shadowdiffusion.runtime.bundle.time_table import read_rows
from shadowdiffusion.runtime.selection.profile import batch_sizes, image_sizes

if TYPE_CHECKING:
    from onnx import ModelProto

WATCHED = {PRIOR: ["clean", "matte"], DENOISER: ["noise"], MASK_HEAD: ["shadow"]}
"""The outputs that count: most steps read the noise alone."""
WHY_NOT = {
    ("cpu", "fp16"): "its CPU kernels compute float16 in float32 between conversions, slower than float32 itself",
    ("cpu", "bf16"): "its CPU provider has no convolution in bfloat16",
    ("cpu", "fp8"): "its CPU provider has no product in float8",
    ("cuda", "bf16"): "its CUDA provider is used in float32 and float16 only",
    ("cuda", "int8"): "its CUDA provider is used in float32 and float16 only",
    ("cuda", "fp8"): "its CUDA provider is used in float32 and float16 only",
}
BUSY = 0.5
"""Cores that others keep busy from which measurements are worth a warning."""
REWRITTEN = 1e-6
"""Relative L2 difference that writing a graph to a file and reading it back may make."""


@dataclass(frozen=True)
class OnnxRuntime:
    """The installed ONNX Runtime."""

    module: Any
    name: BackendName = "onnxruntime"

    @property
    def version(self) -> str:
        """As the package gives it, such as 1.32.0."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """Name and version for people."""
        return f"{TITLES[self.name]} {self.version}"

    def check(self, key: EngineKey, options: EngineOptions, report: Any) -> None:
        """Raise ExportError for what ONNX Runtime cannot do here, or not faster than in float32."""
        provider = key.provider or "cpu"
        if provider == "cuda" and "CUDAExecutionProvider" not in self.module.get_available_providers():
            raise ExportError(f"{self.title} has no CUDA here: install onnxruntime-gpu, or use --provider cpu")
        if why := WHY_NOT.get((provider, key.precision)):
            advice = "--precision fp32 or int8" if provider == "cpu" else "--precision fp32 or fp16, or TensorRT"
            raise ExportError(f"{self.title} builds no {key.precision} engine: {why}; use {advice}")

    def compile(self, job: Job) -> Parts:
        """Tune the graphs, write them into `job.folder` and measure them. Raises ExportError."""
        provider = job.key.provider or "cpu"
        if provider == "cuda":
            self.module.preload_dlls()
        if (busy := _busy_cores()) > BUSY:
            job.report(
                f"other programs keep {busy:.1f} cores busy: what is chosen may not be the best when they are done"
            )
        courses = {name: course_of(job, name) for name in job.graphs}
        chosen = choose_settings(
            job.graphs[DENOISER], courses[DENOISER], provider, job.options.threads, job.report, job.bar
        )
        settings, undisturbed = chosen.settings, chosen.steady
        networks, notes, latency = dict[str, NetworkRecord](), list[Note](), dict[str, float]()
        tuned_graphs: dict[str, ModelProto] = {}
        for name, graph in job.graphs.items():
            started = time.perf_counter()
            tuned = _tuned(job, graph, courses[name], settings)
            undisturbed = undisturbed and tuned.steady
            if name == DENOISER and job.key.precision != "fp32":
                _check_worth(job, tuned.model, courses[name], settings)
            session = _write(job, tuned.model, courses[name], settings)
            tuned_graphs[name] = tuned.model
            seconds = round(time.perf_counter() - started, 2)
            networks[name] = NetworkRecord(name, seconds, _tensors(session))
            notes += tuned.notes
            with job.bar(f"latency of {name}") as progress:
                taken = race({name: _step(session, courses[name])}, progress)
            latency[name], undisturbed = milliseconds(taken[name]), undisturbed and steady(taken)
        record_layers(job, tuned_graphs)
        status = f"built and measured on {job.key.device}"
        return Parts(networks, notes, settings, latency, status, provisional=not undisturbed)


def load_onnxruntime() -> Backend:
    """Raises ExportError if ONNX Runtime is not installed."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError(f"ONNX Runtime is not installed ({error}): pip install onnxruntime") from error
    return OnnxRuntime(onnxruntime)


def course_of(job: Job, network: str) -> Course:
    """What a network of the job is measured and compared on."""
    import onnx

    from shadowdiffusion.export.precision.mixed import single_graph

    truth = single_graph(onnx.load_model(job.bundle.path / network))
    sizes, batches = image_sizes(job.key), batch_sizes(job.key)
    best = network_inputs(job.bundle, network, sizes[1], batches[1])
    smallest = network_inputs(job.bundle, network, sizes[0], batches[2])
    return Course(network, truth, WATCHED[network], best, [smallest, best])


def network_inputs(bundle: Bundle, network: str, size: tuple[int, int], batch: int) -> Feed:
    """Inputs of a network for `batch` synthetic scenes of `size` = (height, width), halfway through the loop."""
    sampling, rng = bundle.manifest.sampling, np.random.default_rng(5)
    image = np.repeat(synthetic(*size)[None], batch, axis=0)
    mask = np.repeat(ellipse(*size), batch, axis=0)
    if network == PRIOR:
        return {"image": image, "mask": mask}
    if network == MASK_HEAD:
        feed = network_inputs(bundle, DENOISER, size, batch)
        session = open_session(str(bundle.path / DENOISER), "cpu", SessionSettings(0, True, {}))
        return {"features": session.run(["features"], feed)[0]}
    table = sampling.tables[str(sampling.default_steps)]
    step, rows = table[len(table) // 2], read_rows(bundle)
    signed, noise = 2 * image - 1, rng.standard_normal(image.shape)
    noisy = np.sqrt(step.alpha_bar) * signed + np.sqrt(1 - step.alpha_bar) * noise
    feed = {"image": signed, "mask": mask, "x_t": noisy.astype(np.float32)}
    if rows is None or step.row is None:
        return feed | {"t": np.full(batch, step.t, np.float32)}
    return feed | {"row": rows[step.row, None]}


def _tuned(job: Job, graph: ModelProto, course: Course, settings: SessionSettings) -> Tuned:
    passes = [item for item in PASSES if item.stage == "engine"]
    provider: Provider = job.key.provider or "cpu"
    return tune(graph, course, passes, job.options.passes, provider, settings, job.report, job.bar)


def _check_worth(job: Job, graph: ModelProto, course: Course, settings: SessionSettings) -> None:
    """Raise ExportError unless a step of the denoiser in low precision is faster than the best in float32."""
    job.report(f"tuning {course.network} in float32, which {job.key.precision} has to beat")
    single = _tuned(job, course.truth, course, settings).model
    provider: Provider = job.key.provider or "cpu"
    graphs = {"low": graph, "float32": single}
    sessions = {name: open_session(item.SerializeToString(), provider, settings) for name, item in graphs.items()}
    with job.bar(f"{job.key.precision} against fp32") as progress:
        runs = {name: _step(session, course) for name, session in sessions.items()}
        taken = race(runs, progress)
    low, best = milliseconds(taken["low"]), milliseconds(taken["float32"])
    if not faster(taken["low"], taken["float32"]):
        raise ExportError(
            f"{job.key.precision} is not faster here: {low:g} ms against {best:g} ms a step; use --precision fp32"
        )
    job.report(f"{job.key.precision} is faster: {low:g} ms against {best:g} ms a step")


def _write(job: Job, graph: ModelProto, course: Course, settings: SessionSettings) -> Any:
    """Write the engine's file of one network and open it as the runtime will.

    Raises ExportError if it then computes other than before.
    """
    provider: Provider = job.key.provider or "cpu"
    raw, file = graph.SerializeToString(), job.folder / course.network
    if provider == "cpu":
        open_session(raw, provider, settings, save=str(file))
    else:
        file.write_bytes(raw)
    session = open_session(str(file), provider, settings, optimized=provider == "cpu")
    expected = open_session(raw, provider, settings)
    for feed in course.checks:
        for found, truth in zip(session.run(None, feed), expected.run(None, feed), strict=True):
            error = float(np.linalg.norm(found - truth) / np.linalg.norm(truth))
            if not error <= REWRITTEN:
                raise ExportError(
                    f"{course.network} computes otherwise once ONNX Runtime has written it (relative L2 {error:.1e})"
                )
    before, after = (job.bundle.path / course.network).stat().st_size, file.stat().st_size
    job.report(f"{course.network}: {after / 1e6:.1f} MB, {after / before:.2f} times the bundle's")
    return session


def _busy_cores(seconds: float = 0.5) -> float:
    """Cores that are busy while this process rests for a moment; 0 where the system does not say."""
    before = _busy_time()
    time.sleep(seconds)
    return (_busy_time() - before) / seconds


def _busy_time() -> float:
    """Seconds that all cores together have worked since the system started."""
    try:
        user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    except OSError:
        return 0.0
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


def _step(session: Any, course: Course) -> Any:
    return lambda: session.run(course.watched, course.best)


def _tensors(session: Any) -> dict[str, dict[str, Any]]:
    """What the network takes and gives, with its dynamic sizes by name."""
    inputs = {node.name: {"kind": "input", "dtype": node.type, "shape": node.shape} for node in session.get_inputs()}
    outputs = {node.name: {"kind": "output", "dtype": node.type, "shape": node.shape} for node in session.get_outputs()}
    return inputs | outputs
