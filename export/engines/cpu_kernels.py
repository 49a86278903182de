"""Engines of our own CPU kernels, for any CPU: plans of the denoiser, and of what ONNX Runtime is not faster at."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from shadowdiffusion.export.commands.console import Report
from shadowdiffusion.export.cpu_graph.network import Network
from shadowdiffusion.export.cpu_graph.plan import encode_plan
from shadowdiffusion.export.cpu_graph.prior import read_prior
from shadowdiffusion.export.cpu_graph.reading import read_network
from shadowdiffusion.export.engines.job import Backend, Job, Parts
from shadowdiffusion.export.engines.key import EngineOptions
from shadowdiffusion.export.engines.onnxruntime import course_of
from shadowdiffusion.export.engines.race import faster, milliseconds, race, ratio, steady
from shadowdiffusion.export.engines.tuning import TOLERANCE, Course
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.runtime.backends import cpu_library
from shadowdiffusion.runtime.backends.onnxruntime_networks import open_session
from shadowdiffusion.runtime.bundle.engines import TITLES, BackendName, EngineKey, NetworkRecord, SessionSettings
from shadowdiffusion.runtime.bundle.folder import DENOISER, MASK_HEAD, PRIOR, Note
from shadowdiffusion.runtime.cores import usable_cores

MATTE_TOLERANCE = 3e-3
"""Where two levels of a matte look as much like a shadow's, rounding decides how far between them it is moved. Up to
6e-4 on photographs, while their clean photos agree to 1e-6.
"""


@dataclass(frozen=True)
class CpuKernels:
    """The library of CPU kernels that is found."""

    version: str
    name: BackendName = "cpu-kernels"

    @property
    def title(self) -> str:
        """Name and version for people."""
        return f"{TITLES[self.name]} {self.version}"

    def check(self, key: EngineKey, options: EngineOptions, report: Report) -> None:
        """Raise ExportError for what the kernels cannot do."""
        if key.precision != "fp32":
            raise ExportError(f"{self.title} compute in float32, not in {key.precision}: use --precision fp32")

    def compile(self, job: Job) -> Parts:
        """Write the plans into `job.folder`, compare them with the graphs and race them. Raises ExportError."""
        threads = job.options.threads or usable_cores()
        networks, notes, latency = dict[str, NetworkRecord](), list[Note](), dict[str, float]()
        undisturbed = True
        for name in (PRIOR, DENOISER, MASK_HEAD):
            if name not in job.graphs:
                continue
            begun, course, file = time.perf_counter(), course_of(job, name), name.replace(".onnx", ".plan")
            try:
                network = (read_prior if name == PRIOR else read_network)(job.graphs[name])
                (job.folder / file).write_bytes(encode_plan(network))
            except ExportError as error:
                if name == DENOISER:
                    raise
                job.report(f"{name} stays with ONNX Runtime: {error}")
                continue
            plan = cpu_library.Network(job.folder / file, threads)
            session = open_session(job.graphs[name].SerializeToString(), "cpu", SessionSettings(threads, True, {}))
            difference, seconds = _difference(plan, session, course), round(time.perf_counter() - begun, 2)
            best, calm = _race(job, course, plan, session, threads)
            undisturbed = undisturbed and calm
            if best is None:
                (job.folder / file).unlink()
                continue
            latency[name] = best
            networks[name] = NetworkRecord(file, seconds, _tensors(network))
            notes.append(Note("cpu-kernels", "exact", f"{name}: L2 difference {difference:.1e} to the graph", None))
        return Parts(networks, notes, None, latency, "built and measured on this CPU", not undisturbed)


def load_cpu_kernels() -> Backend:
    """Raises ExportError if the library is not found."""
    try:
        return CpuKernels(str(cpu_library.__version__))
    except OSError as error:
        raise ExportError(
            f"our CPU kernels cannot be loaded ({error}): build them, as docs/cpu-kernels.md says"
        ) from error


def _difference(plan: cpu_library.Network, session: Any, course: Course) -> float:
    """The largest relative L2 difference of any output but the prior's matte; of a mask, which may be zero nearly
    everywhere, relative to 1.

    Raises ExportError if it is more than rounding.
    """
    wanted, worst = [node.name for node in session.get_outputs()], 0.0
    for feed in course.checks:
        for name, found, truth in zip(wanted, plan.run_batch(feed, wanted), session.run(wanted, feed), strict=True):
            whole = np.sqrt(truth.size) if name in ("shadow", "matte") else np.linalg.norm(truth)
            difference = float(np.linalg.norm(found - truth) / whole)
            if not difference <= (MATTE_TOLERANCE if name == "matte" else TOLERANCE):
                raise ExportError(
                    f"the plan of {course.network} computes otherwise than its graph (L2 {difference:.1e})"
                )
            worst = max(worst, 0.0 if name == "matte" else difference)
    return worst


def _race(job: Job, course: Course, plan: cpu_library.Network, session: Any, threads: int) -> tuple[float | None, bool]:
    """Milliseconds of the plan, None if ONNX Runtime is faster and keeps the network; and whether times were steady.

    Raises ExportError unless the plan is the faster one for a step of the denoiser.
    """
    with job.bar(f"latency of {course.network}") as progress:
        runs = {
            "plan": lambda: plan.run_batch(course.best, course.watched),
            "graph": lambda: session.run(course.watched, course.best),
        }
        taken = race(runs, progress)
    part, best, other = ratio(taken["plan"], taken["graph"]), *(milliseconds(taken[name]) for name in ("plan", "graph"))
    job.report(
        f"{course.network} with {threads} threads: {best:g} ms, {part:.2f} of the time of ONNX Runtime ({other:g} ms)"
    )
    if course.network == DENOISER and not faster(taken["plan"], taken["graph"]):
        raise ExportError(
            f"our CPU kernels are not faster here: {best:g} ms against {other:g} ms a step; use --backend onnxruntime"
        )
    if faster(taken["graph"], taken["plan"]):
        job.report(f"{course.network} stays with ONNX Runtime")
        return None, steady(taken)
    return best, steady(taken)


def _tensors(network: Network) -> dict[str, dict[str, Any]]:
    """What the network takes and gives; -1 is any size."""
    found: dict[str, dict[str, Any]] = {}
    for kind, ports in (("input", network.inputs), ("output", network.outputs)):
        for name, port in ports.items():
            found[name] = {"kind": kind, "dtype": "tensor(float)", "shape": [1, port.channels, -1, -1]}
    if network.row:
        found["row"] = {"kind": "input", "dtype": "tensor(float)", "shape": [1, network.row]}
    return found
