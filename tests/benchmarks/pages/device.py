"""A device of which everything was measured, with figures that are easy to check."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from shadowdiffusion.benchmarks.kernels import record as kernels
from shadowdiffusion.benchmarks.latency import record as latency
from shadowdiffusion.benchmarks.latency import stage_record as stages
from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.measurement.line import fit
from shadowdiffusion.benchmarks.measurement.results import append, results_file
from shadowdiffusion.benchmarks.memory import record as memory
from shadowdiffusion.benchmarks.quality.metrics import Quality, Region
from shadowdiffusion.benchmarks.quality.record import Protocol, QualityRecord
from shadowdiffusion.benchmarks.scaling import record as scaling
from shadowdiffusion.benchmarks.startup import record as startup
from tests.benchmarks.kernels.records import record as kernel
from tests.benchmarks.latency.records import HEADER, MODEL, entry, parts, race
from tests.benchmarks.scaling.records import growth


def races() -> list[latency.LatencyRecord]:
    """Ours takes half the time of the authors' loop, int8 a quarter; time is proportional to steps and pixels."""

    def one(size: int, steps: int) -> latency.LatencyRecord:
        unit = steps * size * size / (5 * 256 * 256)
        return race(
            [
                entry("authors", [8000 * unit, 8100 * unit], ours=False),
                entry("plain-onnx", [6000 * unit, 6100 * unit], ours=False),
                entry("lean-loop", [5000 * unit, 5100 * unit], parent="plain-onnx"),
                entry("bundle", [4000 * unit, 4050 * unit], parent="lean-loop"),
                entry("engine onnxruntime fp32", [4100 * unit, 4150 * unit], parent="bundle"),
                entry("engine onnxruntime int8", [2000 * unit, 2025 * unit], parent="bundle", exact=False, psnr=47.0),
            ],
            size=size,
            steps=steps,
            failures={"compile": "torch.compile does not work here: no compiler"},
        )

    photo = race([entry("bundle", [9000.0, 9100.0])], scope="photo", photo=(4000, 3000))
    return [one(256, 5), one(512, 5), one(256, 25), photo]


def peaks() -> memory.MemoryRecord:
    points = [memory.Peak(side * side, 400.0, 500 + side * side / 1024) for side in (128, 256, 512)]
    line = fit([peak.amount for peak in points], [peak.peak_mib for peak in points])
    return memory.MemoryRecord(HEADER, MODEL, "cpu", "pixels", 128, 1, 2, 4, points, line)


def start() -> startup.StartupRecord:
    starts = [startup.Start("help", "shadowdiffusion --help", distribution([98.0]))]
    found = [startup.StartPart("import", distribution([230.0])), startup.StartPart("diffusion", distribution([600.0]))]
    return startup.StartupRecord(HEADER, MODEL, "cpu", (640, 426), 5, 4, 9, starts, found, 372, 51.0, {})


def score(method: str, psnr: float, seconds: float | None) -> QualityRecord:
    quality = Quality(Region(100, psnr, 0.9, 5.0), None, None)
    protocol = Protocol("shadow_val", "istd", "test", None, "none")
    return QualityRecord(HEADER, protocol, method, None, "a", "all", "given", seconds, quality, None)


def write(folder: Path, slug: str = "a-cpu", *, backwards: bool = False) -> None:
    """Everything of one device into folder/results."""
    pixels, threads = {65536: 10.0, 262144: 45.0, 589824: 100.0}, {1: 9.0, 2: 5.0, 4: 3.0}
    everything: dict[str, Sequence[msgspec.Struct]] = {
        latency.KIND: races(),
        stages.KIND: [parts()],
        scaling.KIND: [growth("pixels", pixels), growth("threads", threads)],
        memory.KIND: [peaks()],
        startup.KIND: [start()],
        "quality": [score("bundle", 36.0, 1.2), score("prior", 34.0, 0.4), score("identity", 23.0, None)],
    }
    for kind, records in everything.items():
        for record in reversed(records) if backwards else records:
            append(results_file(folder, slug, kind), record)


def write_gpu(folder: Path) -> None:
    """Kernels of a GPU."""
    for side in (256, 512, 1024):
        for name in ("confident_mask", "noise"):
            record = kernel(name, height=side, width=side, bytes=side * side * (15 if name == "noise" else 12))
            append(results_file(folder, "a-gpu", kernels.KIND), record)
