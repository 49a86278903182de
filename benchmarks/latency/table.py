"""Lines for whoever waits at the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from shadowdiffusion.benchmarks.latency.record import PHOTO, LatencyRecord
from shadowdiffusion.benchmarks.latency.stage_record import StageRecord

LINE = "  {:<28} {:>10} {:>10} {:>10} {:>9} {:>9} {:>20} {:>9}"


def lines(record: LatencyRecord) -> Iterator[str]:
    """A race as a table: medians, dB, and how many times as fast as the authors' loop, or as the first."""
    what = "photo, " if record.scope == PHOTO else ""
    yield (
        f"{record.model.name} ({record.model.weights} weights), {what}{record.size} pixels, batch {record.batch}, "
        f"{record.steps} steps, {record.threads} threads on {record.device}; {record.rounds} rounds"
    )
    if not record.entries:
        yield "  nothing: all times spread too wide (--force keeps them)"
        return
    base = record.entries[0].name
    yield LINE.format("", "ms", "p90", "p99", "images/s", "dB", f"x {base}", "x parent")
    for entry in record.entries:
        times, parent = record.speedup(entry.name, base), record.speedup(entry.name, entry.parent or entry.name)
        yield LINE.format(
            entry.name,
            *(f"{value:.4g}" for value in (entry.ms.p50, entry.ms.p90, entry.ms.p99)),
            f"{record.images_per_second(entry.name):.3g}",
            f"{entry.psnr:.1f}",
            f"{times.value:.2f} ({times.low:.2f} to {times.high:.2f})" if times else "",
            f"{parent.value:.2f}" if parent and entry.parent else "",
        ) + (f"  noisy, {record.noisy[entry.name]:.0%}" if entry.name in record.noisy else "")


def stage_lines(record: StageRecord) -> Iterator[str]:
    """The parts of a loop as a table."""
    yield (
        f"{record.model.name}, {record.contestant}, {record.size} pixels, {record.steps} steps: "
        f"{record.whole.p50:.4g} ms, {record.psnr:.1f} dB, of which {record.unexplained:.1%} is in no part"
    )
    for stage in (*record.in_loop, *record.around):
        share = stage.times * stage.ms.p50 / record.whole.p50
        part = f"{share:.1%} of the loop" if stage in record.in_loop else "around the loop"
        noisy = f"  noisy, {record.noisy[stage.name]:.0%}" if stage.name in record.noisy else ""
        yield f"  {stage.name:<28} {stage.ms.p50:>10.4g} ms x {stage.times}  {part}{noisy}"
