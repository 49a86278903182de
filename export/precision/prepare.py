"""The networks of a bundle as graphs in a given precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.console import Bar, Report
from export.errors import ExportError
from runtime.bundle import DENOISER, PRIOR, Bundle, Note
from runtime.engines import Gate, Precision

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class Prepared:
    """graphs: by file name. notes: what changed beyond rounding. kept_in_fp32: layers put back, by network."""

    graphs: dict[str, ModelProto]
    notes: list[Note] = field(default_factory=list)
    kept_in_fp32: dict[str, list[str]] = field(default_factory=dict)
    gate: Gate | None = None


def prepare(
    bundle: Bundle,
    precision: Precision,
    gate: float | None,
    photos: Sequence[Path],
    report: Report,
    bar: Bar,
) -> Prepared:
    """The graphs of the bundle in `precision`. Raises ExportError where that costs too much."""
    import onnx

    from export.precision.cost import half_cost
    from export.precision.mixed import mixed_graph, single_graph

    if precision not in ("fp32", "fp16"):
        raise ExportError(f"precision {precision} is not available yet: use --precision fp32 or fp16")
    graphs, notes = dict[str, Any](), list[Note]()
    for name in (PRIOR, DENOISER):
        if name not in bundle.manifest.files:
            continue
        model = onnx.load_model(bundle.path / name)
        if precision == "fp32":
            graphs[name] = single_graph(model)
            continue
        graphs[name] = mixed_graph(model)
        report(f"comparing the float16 graph of {name} with the float32 one, on the CPU")
        costs = half_cost(name, model, graphs[name], bundle)
        detail = ", ".join(f"{label} {value:g} dB" for label, value in costs.items())
        notes.append(
            Note(f"float16 {name}", "approximate", f"products in float16, against float32 on the CPU: {detail}")
        )
    return Prepared(graphs, notes)
