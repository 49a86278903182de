"""`shadowdiffusion bench memory`: a fresh process for every size and every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.line import fit
from shadowdiffusion.benchmarks.measurement.workers import Worker
from shadowdiffusion.benchmarks.memory.record import KIND, Axis, MemoryRecord, Peak
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.session import Options, Session

SIDES, BATCHES, SIDE, STEPS = (128, 256, 384, 512, 768), (1, 2, 4), 256, 2
"""Pixels and images; the side of batches; steps, which do not add up in memory: two reach the peak."""


def run(options: Options, sides: Sequence[int], batches: Sequence[int], command: Sequence[str]) -> None:
    """Measure and store. sides, batches: () = the usual. Raises BenchmarkError if anything is missing."""
    session = Session(options, command)
    few = (16, 24, 32) if options.smoke else SIDES
    side = 16 if options.smoke else SIDE
    plan: dict[Axis, Sequence[tuple[int, int]]] = {
        "pixels": [(each, 1) for each in sorted(sides or few)],
        "batch": [(side, count) for count in sorted(batches or BATCHES)],
    }
    for subject, _ in session.models():
        for axis, points in plan.items():
            what = f"{subject.bundle.manifest.name}, {axis}"
            if session.over(what):
                break
            try:
                record = measure(session, subject, axis, points)
            except BenchmarkError as error:
                session.lost(what, error)
                continue
            session.keep(KIND, record, lines(record), 0)
    session.close()


def measure(session: Session, subject: Subject, axis: Axis, points: Sequence[tuple[int, int]]) -> MemoryRecord:
    """The peaks of images of (side, batch)."""
    bench, peaks = session.bench, list[Peak]()
    for side, batch in points:
        bench.setting(subject, side, batch, STEPS)  # complains of sizes that do not fit
        session.report(f"{batch} of {side}x{side} pixels")
        with Worker(subject.bundle.path, bench.device, bench.threads) as worker:
            worker.ask(side, batch, STEPS)
            amount = side * side if axis == "pixels" else batch
            peaks.append(Peak(amount, worker.loaded_mib, worker.answer()["peak_mib"]))
    return MemoryRecord(
        header=session.header,
        model=subject.facts,
        device=bench.device,
        axis=axis,
        size=points[0][0],
        batch=points[0][1],
        steps=STEPS,
        threads=bench.threads,
        points=peaks,
        line=fit([peak.amount for peak in peaks], [peak.peak_mib for peak in peaks]),
    )


def lines(record: MemoryRecord) -> Iterator[str]:
    """The peaks as a table, and the line through them."""
    yield f"{record.model.name}, {record.axis}: MiB when the bundle is open, and at most"
    for peak in record.points:
        yield f"  {peak.amount:>10} {peak.loaded_mib:>9.1f} {peak.peak_mib:>9.1f}"
    if found := record.line:
        shape = "SUPER-LINEAR" if found.superlinear else "linear"
        yield f"  {found.intercept:.4g} MiB + {found.slope:.4g} MiB x {record.axis}, r2 {found.r2:.4f}, {shape}"
