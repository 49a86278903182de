"""Where the time of a restoration goes, how costs grow, and what a new process takes."""

from __future__ import annotations

from collections.abc import Sequence

from shadowdiffusion.benchmarks.latency.stage_record import Stage, StageRecord
from shadowdiffusion.benchmarks.measurement.line import GROWTH, Line
from shadowdiffusion.benchmarks.memory.record import MemoryRecord
from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Table, Text
from shadowdiffusion.benchmarks.pages.svg import Axis, Bar, Series, bars, chart
from shadowdiffusion.benchmarks.pages.text import NOTHING, decibels, ms
from shadowdiffusion.benchmarks.scaling.record import UNITS, ScalingRecord
from shadowdiffusion.benchmarks.startup.record import StartupRecord


def stage_sections(records: Sequence[StageRecord], prefix: str) -> list[Block]:
    """Every loop that was taken apart."""
    blocks = list[Block]()
    for record in records:
        name = record.contestant.replace(" ", "-")
        loop = f"{record.contestant}, {record.size} pixels, {record.steps} steps"
        title = f"Where the time goes: {loop}"
        inside = [(f"{each.name} ×{each.times}", each.times * each.ms.p50, 1) for each in record.in_loop]
        around = [(each.name, each.ms.p50, 0) for each in record.around if each.times]
        shown = [Bar(label, value, f"{ms(value)} ms", group=group) for label, value, group in (*inside, *around)]
        rows = [_part(each, record) for each in (*record.in_loop, *record.around)]
        blocks += [
            Heading(title, 3),
            Text(
                f"The loop takes {ms(record.whole.p50)} ms ({decibels(record.psnr)} dB); what its parts, timed alone, "
                f"do not add up to is {record.unexplained:.1%} of it. Parts around the loop work on a photo of "
                f"{record.photo[0]}×{record.photo[1]} pixels; those needed 0 times are for some photos only."
            ),
            Figure(f"{prefix}-stages-{name}", bars(loop, "ms per photo", shown), title),
            Table(["part", "what", "times", "p50 of one", "p90", "of the loop"], rows, ("what",)),
        ]
    return blocks


def _part(each: Stage, record: StageRecord) -> list[str]:
    share = f"{each.times * each.ms.p50 / record.whole.p50:.1%}" if each in record.in_loop else NOTHING
    return [each.name, each.title, str(each.times), ms(each.ms.p50), ms(each.ms.p90), share]


def scaling_sections(records: Sequence[ScalingRecord], prefix: str) -> list[Block]:
    """Every axis, as plots and one table."""
    if not records:
        return []
    blocks: list[Block] = [
        Heading("How time grows", 3),
        Text(
            "Lines by least squares over relative errors: what one more costs, and what is paid anyway. Over threads, "
            "the line is over 1 / threads, and what is paid anyway is the part that threads do not share. Growth is "
            f"super-linear if one unit of the most costs more than {GROWTH:g} times one of less."
        ),
    ]
    rows = []
    for record in records:
        points = [(float(point.amount), point.ms.p50) for point in record.points]
        title = f"Time over {record.axis}" + ("" if record.axis == "steps" else f", {record.steps} steps")
        if len(points) > 1:
            svg = chart(title, Axis(UNITS[record.axis]), Axis("ms"), [Series(record.axis, points)])
            blocks.append(Figure(f"{prefix}-scaling-{record.axis}", svg, title))
        worst = min((point.psnr for point in record.points if point.psnr is not None), default=None)
        ends = record.points[0], record.points[-1]
        spans = [f"{point.amount}: {ms(point.ms.p50)}" for point in ends]
        rows.append([record.axis, *spans, *_line(record.line, record.axis != "threads"), decibels(worst)])
    head = ["over", "least: ms", "most: ms", "ms for one more", "ms anyway", "r²", "growth", "worst dB"]
    return [*blocks, Table(head, rows)]


def memory_sections(records: Sequence[MemoryRecord], prefix: str) -> list[Block]:
    """Peaks by size and batch."""
    if not records:
        return []
    blocks: list[Block] = [
        Heading("Memory", 3),
        Text("Peak resident memory of a new process on the host, the bundle's weights and libraries included."),
    ]
    rows = []
    for record in records:
        title = f"Peak memory over {record.axis}"
        series = [
            Series("restored", [(float(peak.amount), peak.peak_mib) for peak in record.points]),
            Series("bundle open", [(float(peak.amount), peak.loaded_mib) for peak in record.points]),
        ]
        if len(record.points) > 1:
            svg = chart(title, Axis(UNITS[record.axis]), Axis("MiB"), series)
            blocks.append(Figure(f"{prefix}-memory-{record.axis}", svg, title))
        ends = record.points[0], record.points[-1]
        rows.append([record.axis, *(f"{peak.amount}: {peak.peak_mib:.0f}" for peak in ends), *_line(record.line, True)])
    head = ["over", "least: MiB", "most: MiB", "MiB for one more", "MiB anyway", "r²", "growth"]
    return [*blocks, Table(head, rows)]


def startup_sections(records: Sequence[StartupRecord], prefix: str) -> list[Block]:
    """New processes."""
    blocks = list[Block]()
    for record in records:
        size = f"{record.photo[0]}×{record.photo[1]}"
        title = f"A new process: a photo of {size}, {record.steps} steps"
        shown = [Bar(start.name, start.ms.p50, f"{ms(start.ms.p50)} ms", group=0) for start in record.starts]
        shown += [Bar(f"· {part.name}", part.ms.p50, f"{ms(part.ms.p50)} ms", group=1) for part in record.parts]
        rows = [[start.name, start.title, ms(start.ms.p50), ms(start.ms.p90)] for start in record.starts]
        blocks += [
            Heading(title, 3),
            Text(
                f"{record.rounds} rounds, files in the system's cache. The first photo ({decibels(record.psnr)} dB "
                f"with 8 bits, {record.modules} modules) is made of the parts with a dot."
            ),
            Figure(f"{prefix}-startup", bars(title, "ms", shown), title),
            Table(["process", "what", "p50", "p90"], rows, ("what",)),
        ]
    return blocks


def _line(line: Line | None, judged: bool) -> list[str]:
    if line is None:
        return [NOTHING] * 4
    growth = f"{line.growth:.2f}{' super-linear' if line.superlinear else ''}" if judged else NOTHING
    return [f"{line.slope:.3g}", f"{line.intercept:.3g}", f"{line.r2:.4f}", growth]
