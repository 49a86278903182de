"""The tables of docs/precision.md: what each precision reaches, as the accuracy gate measures it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.export.commands.console import quiet_bar
from shadowdiffusion.export.precision.prepare import prepare
from shadowdiffusion.runtime.bundle.engines import BackendName, EngineKey, Precision, network_digests
from shadowdiffusion.runtime.bundle.folder import Bundle
from shadowdiffusion.runtime.bundle.opening import load_bundle
from shadowdiffusion.runtime.selection.tolerances import TOLERANCES, Decibels

BEGIN, END = "<!-- shadowdiffusion bench precision --write {name} -->", "<!-- end of the tables -->"
CASES: tuple[tuple[Precision, BackendName], ...] = (
    ("fp16", "tensorrt-rtx"),
    ("bf16", "tensorrt-rtx"),
    ("int8", "onnxruntime"),
    ("int8", "tensorrt-rtx"),
    ("fp8", "tensorrt-rtx"),
)
BACKENDS: dict[BackendName, str] = {"onnxruntime": "ONNX Runtime, CPU", "tensorrt-rtx": "TensorRT"}
SM = 89
"""The first that has all of these precisions."""


def tables(paths: Sequence[Path], photos: Sequence[Path], report: Callable[[str], None]) -> str:
    """Markdown: the tolerances, then one table for every bundle.

    Raises BundleError and ExportError for bundles and photos that cannot be used.
    """
    head = f"| | {' | '.join(Decibels._fields)} |"
    rule = "|---|" + "---|" * len(Decibels._fields)
    needed = [f"| {name} | {_cells(values)} |" for name, values in TOLERANCES.items()]
    parts = ["\n".join(["Needed, in dB:", "", head, rule, *needed])]
    for path in paths:
        bundle = load_bundle(path)
        name, steps = bundle.manifest.name, bundle.manifest.sampling.default_steps
        rows = list[str]()
        for precision, backend in CASES:
            report(f"{name}: {precision} for {backend}")
            rows.append(_row(bundle, precision, backend, photos))
        count = "1 step" if steps == 1 else f"{steps} steps"
        parts.append("\n".join([f"`{name}`, {count}:", "", f"{head} layers put back |", f"{rule}---|", *rows]))
    return "\n\n".join(parts)


def _row(bundle: Bundle, precision: Precision, backend: BackendName, photos: Sequence[Path]) -> str:
    on_cpu = backend == "onnxruntime"
    key = EngineKey(
        device=None,
        sm=[] if on_cpu else [SM],
        driver=None,
        backend=backend,
        backend_version="",
        provider="cpu" if on_cpu else None,
        onnx=network_digests(bundle),
        precision=precision,
        profile="64x64:64x64:64x64",
        batch="1:1:1",
        optimization_level=3,
        flags=[],
    )
    found = prepare(bundle, key, None, photos, lambda line: None, quiet_bar)
    assert found.gate is not None
    values = Decibels(**{"image": found.gate.psnr} | found.gate.outputs)
    back = sum(map(len, found.kept_in_fp32.values()))
    return f"| {precision}, {BACKENDS[backend]} | {_cells(values)} | {back} |"


def _cells(values: Decibels) -> str:
    return " | ".join("exact" if value >= 200 else f"{value:.1f}" for value in values)


def replace_block(document: Path, text: str) -> None:
    """Put the text between the two marks of a document. Raises BenchmarkError where they are missing."""
    begin = BEGIN.format(name=f"docs/{document.name}")
    before, found, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise BenchmarkError(f"{document} has no place for the tables: add the lines {begin} and {END}")
    document.write_text(f"{before}{begin}\n\n{text}\n\n{END}{after}")
