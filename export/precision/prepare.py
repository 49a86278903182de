"""The networks of a bundle as graphs in a given precision, which passed the accuracy gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shadowdiffusion.export.commands.console import Bar, Report
from shadowdiffusion.export.precision.mixed import Kind
from shadowdiffusion.runtime.bundle.engines import EngineKey, Gate, Precision
from shadowdiffusion.runtime.bundle.folder import DENOISER, NETWORKS, Bundle, Note
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES, Decibels

if TYPE_CHECKING:
    from onnx import ModelProto

    from shadowdiffusion.export.precision.gate import Candidate

HALVES: dict[Kind, str] = {"fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Prepared:
    """graphs: by file name. notes: what changed beyond rounding. kept_in_fp32: layers put back, by network."""

    graphs: dict[str, ModelProto]
    notes: list[Note] = field(default_factory=list)
    kept_in_fp32: dict[str, list[str]] = field(default_factory=dict)
    gate: Gate | None = None


def prepare(
    bundle: Bundle, key: EngineKey, gate: float | None, photos: Sequence[Path], report: Report, bar: Bar
) -> Prepared:
    """The graphs of the bundle in the precision of the key, for its backend.

    gate: PSNR in dB of the whole loop that they must reach against float32 on crops of the photos, None for the one
    of the precision; no photos: the example. Raises ExportError where that cannot be had.
    """
    import onnx

    from shadowdiffusion.export.photos import golden_sample, verification_samples
    from shadowdiffusion.export.precision.calibration import quantized
    from shadowdiffusion.export.precision.fp8 import fp8_scheme
    from shadowdiffusion.export.precision.gate import Judge, pass_gate
    from shadowdiffusion.export.precision.int8 import int8_scheme
    from shadowdiffusion.export.precision.mixed import float32_layers, single_graph
    from shadowdiffusion.export.precision.networks import session
    from shadowdiffusion.runtime.bundle.time_table import read_rows

    files = [name for name in NETWORKS if name in bundle.manifest.files]
    singles = {name: single_graph(onnx.load_model(bundle.path / name)) for name in files}
    if key.precision == "fp32":
        return Prepared(singles)
    multiple, needed = bundle.manifest.model.multiple, needed_of(key.precision, gate)
    samples = verification_samples(photos, multiple)
    judge = Judge(bundle, {name: session(graph) for name, graph in singles.items()}, read_rows(bundle), samples)
    probe = golden_sample(photos, multiple)
    if key.precision in ("fp16", "bf16"):
        passed = pass_gate(_mixed(singles, key.precision), judge, probe, needed, report, bar)
        kept = {name: float32_layers(graph) for name, graph in passed.graphs.items()}
        detail = f"convolutions and products in {HALVES[key.precision]}, statistics in float32"
    else:
        base, kept = singles, dict[str, list[str]]()
        scheme = int8_scheme(key) if key.precision == "int8" else fp8_scheme(key)
        if key.backend != "onnxruntime":  # there, what is between the convolutions is to be fast too
            half = pass_gate(_mixed(singles, "fp16"), judge, probe, TOLERANCES["fp16"], report, bar)
            base, kept = half.graphs, {name: float32_layers(graph) for name, graph in half.graphs.items()}
        candidate, method = quantized(key.precision, singles, base, scheme, judge, report, bar)
        passed = pass_gate(candidate, judge, probe, needed, report, bar)
        left = [layer.name for layer in passed.kept]
        total = len(candidate.layers)
        detail = f"{total - len(left)} of {total} convolutions of the denoiser in {key.precision}, ranges by {method}"
        if base is singles:
            kept = {DENOISER: left}
        else:
            detail += f", all else as in fp16{': ' if left else ''}{', '.join(left)}"
    found = Gate(
        psnr=round(passed.score.image, 2),
        least=needed.image,
        photos=[sample.name for sample in samples],
        outputs={name: round(value, 2) for name, value in passed.score._asdict().items() if name != "image"},
    )
    note = Note(key.precision, "approximate", detail, found.psnr)
    return Prepared(passed.graphs, [note], {name: layers for name, layers in kept.items() if layers}, found)


def needed_of(precision: Precision, gate: float | None) -> Decibels:
    """The tolerances of a precision; gate: PSNR in dB of the image instead of theirs."""
    needed = TOLERANCES[precision]
    return needed if gate is None else needed._replace(image=gate)


def _mixed(singles: Mapping[str, ModelProto], kind: Kind) -> Candidate:
    from shadowdiffusion.export.precision.gate import Candidate, all_layers
    from shadowdiffusion.export.precision.mixed import mixed_graph

    def make(network: str, keep: frozenset[str]) -> ModelProto:
        return mixed_graph(singles[network], kind, keep)

    return Candidate(HALVES[kind], all_layers(singles), make, simulated=True)
