"""`shadowdiffusion bench scaling`: race the points of one axis after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic
from typing import get_args

import msgspec

from shadowdiffusion.benchmarks.baselines.setting import Unavailable
from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.latency.ablation import BUNDLE
from shadowdiffusion.benchmarks.latency.racing import Run, timed
from shadowdiffusion.benchmarks.measurement.distribution import distribution
from shadowdiffusion.benchmarks.measurement.line import Line, fit
from shadowdiffusion.benchmarks.models.subject import Subject
from shadowdiffusion.benchmarks.scaling.axes import SMOKE, Amounts, ready
from shadowdiffusion.benchmarks.scaling.record import KIND, UNITS, Axis, Point, ScalingRecord
from shadowdiffusion.benchmarks.session import Options, Session


def run(options: Options, axes: Sequence[str], sides: Sequence[int], command: Sequence[str]) -> None:
    """Measure and store. axes, sides: () = the usual. Raises BenchmarkError if anything is missing."""
    known: tuple[Axis, ...] = get_args(Axis)
    if unknown := [axis for axis in axes if axis not in known]:
        raise BenchmarkError(f"axis {unknown[0]!r} is unknown: choose from {', '.join(known)}")
    session = Session(options, command)
    amounts = SMOKE if options.smoke else Amounts()
    amounts = replace(amounts, sides=sorted(sides)) if sides else amounts
    for subject, last in session.models():
        wanted = [axis for axis in known if not axes or axis in axes]
        for place, axis in enumerate(wanted):
            what = f"{subject.bundle.manifest.name}, {axis}"
            if session.over(what):
                break
            until = monotonic() + max(0.0, last - monotonic()) / (len(wanted) - place)
            try:
                record = measure(axis, session, subject, amounts, until)
            except (BenchmarkError, Unavailable) as error:
                session.lost(what, error)
                continue
            kept = record if options.force else quiet(record)
            session.keep(KIND, kept, lines(record), len(record.noisy))
    session.close()


def measure(axis: Axis, session: Session, subject: Subject, amounts: Amounts, until: float) -> ScalingRecord:
    """One axis, done at about `until`, in seconds of `time.monotonic`."""
    with ready(axis, session, subject, amounts) as points:
        each = {amount: _milliseconds(run) for amount, run in points.runs.items()}
        effort = session.bench.effort(until - monotonic(), sum(each.values()), len(each))
        session.report(f"racing {len(each)} amounts of {axis} in {effort.least} to {effort.most} rounds")
        race = timed({str(amount): run for amount, run in points.runs.items()}, effort, points.base.device)
    found = [Point(amount, distribution(race.samples[str(amount)]), points.psnr[amount]) for amount in points.runs]
    return ScalingRecord(
        header=session.header,
        model=subject.facts,
        contestant=BUNDLE,
        device=session.bench.device,
        axis=axis,
        size=points.base.images.shape[2],
        batch=1,
        steps=points.base.steps,
        threads=1 if axis == "processes" else points.base.threads,
        rounds=len(next(iter(race.samples.values()))),
        warm_up=race.warm_up,
        points=found,
        line=line(axis, found),
        noisy=race.noisy,
    )


def line(axis: Axis, points: Sequence[Point]) -> Line | None:
    """As `ScalingRecord` has it."""
    if axis == "processes":
        return None
    units = [1 / point.amount if axis == "threads" else float(point.amount) for point in points]
    return fit(units, [point.ms.p50 for point in points])


def quiet(record: ScalingRecord) -> ScalingRecord | None:
    """The record without the points that spread too wide; None if nothing is left."""
    points = [point for point in record.points if str(point.amount) not in record.noisy]
    return msgspec.structs.replace(record, points=points, line=line(record.axis, points), noisy={}) if points else None


def lines(record: ScalingRecord) -> Iterator[str]:
    """The points as a table, and the line through them."""
    yield f"{record.model.name}, {UNITS[record.axis]}; else {record.size} pixels, {record.steps} steps"
    for point in record.points:
        spread = record.noisy.get(str(point.amount))
        yield (
            f"  {point.amount:>10} {point.ms.p50:>10.4g} ms"
            + ("" if point.psnr is None else f" {point.psnr:>7.1f} dB")
            + ("" if spread is None else f"  noisy, {spread:.0%}")
        )
    found = record.line
    if found:
        shape = "SUPER-LINEAR" if found.superlinear and record.axis != "threads" else "linear"
        per = "1 / threads" if record.axis == "threads" else record.axis
        yield f"  {found.intercept:.4g} ms + {found.slope:.4g} ms x {per}, r2 {found.r2:.4f}, {shape}"


def _milliseconds(run: Run) -> float:
    started = monotonic()
    run()
    return 1e3 * (monotonic() - started)
