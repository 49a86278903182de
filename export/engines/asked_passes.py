"""The graph passes that the user asked for, where there is no device to measure which ones pay: compared, not timed.

Outputs and restored photos of the changed graphs are compared with those of the graphs as they were, on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowdiffusion.export.engines.job import Job
from shadowdiffusion.export.errors import ExportError
from shadowdiffusion.export.passes.catalog import PASSES
from shadowdiffusion.export.precision.prepare import needed_of
from shadowdiffusion.runtime.bundle.folder import Note
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES

if TYPE_CHECKING:
    from onnx import ModelProto

    from shadowdiffusion.export.precision.gate import Judge

EXACT = TOLERANCES["fp32"]._replace(image=80.0)
"""What a pass must keep in float32; in lower precisions, where it rounds elsewhere, that of the accuracy gate."""


def apply_asked(job: Job) -> tuple[dict[str, ModelProto], list[Note]]:
    """The graphs of the job after the passes that its options switch on, and a note for each that changed one.

    Raises ExportError for a pass that changes the restored photos.
    """
    graphs, notes = dict(job.graphs), list[Note]()
    needed = EXACT if job.key.precision == "fp32" else needed_of(job.key.precision, job.options.gate)
    for item in PASSES:
        if item.stage != "engine" or not job.options.passes.get(item.name):
            continue
        if item.apply is None:
            raise ExportError(f"{item.name} is no pass for engines")
        passed = {name: item.apply(graph) for name, graph in graphs.items()}
        changed = [name for name in graphs if _nodes(passed[name]) != _nodes(graphs[name])]
        if not changed:
            job.report(f"{item.name} finds nothing to change")
            continue
        job.report(f"comparing the restored photos with {item.name} and without")
        score = _judge(job, graphs).score({name: _session(job, passed[name]) for name in changed})
        if missed := score.missed(needed):
            found = f"against results without it {', '.join(missed)}"
            raise ExportError(f"{item.name} is wrong for {' and '.join(changed)} ({found}): leave out --with")
        detail = f"{item.summary}; in {' and '.join(changed)}, {score.image:.1f} dB against results without it"
        notes.append(Note(item.name, item.exactness, f"asked for: {detail}"))
        graphs = passed
    return graphs, notes


def _judge(job: Job, graphs: dict[str, ModelProto]) -> Judge:
    from shadowdiffusion.export.photos import verification_samples
    from shadowdiffusion.export.precision.gate import Judge
    from shadowdiffusion.runtime.bundle.time_table import read_rows

    samples = verification_samples(job.options.photos, job.bundle.manifest.model.multiple)
    sessions = {name: _session(job, graph) for name, graph in graphs.items()}
    return Judge(job.bundle, sessions, read_rows(job.bundle), samples)


def _session(job: Job, graph: ModelProto) -> Any:
    from shadowdiffusion.export.precision.networks import session
    from shadowdiffusion.export.precision.simulate import simulated

    return session(graph) if job.key.precision == "fp32" else session(simulated(graph), optimized=False)


def _nodes(graph: ModelProto) -> list[bytes]:
    return [node.SerializeToString() for node in graph.graph.node]
