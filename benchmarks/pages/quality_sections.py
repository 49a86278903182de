"""Quality against time: how far from the reference what is faster is, and how close to the truth what takes longer."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

from shadowdiffusion.benchmarks.latency.record import IMAGES, LatencyRecord
from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Text
from shadowdiffusion.benchmarks.pages.svg import Axis, Series, chart
from shadowdiffusion.benchmarks.quality.record import QualityRecord


def fidelity_section(races: Sequence[LatencyRecord], prefix: str) -> list[Block]:
    """dB to the float32 reference over time, of the first race of one model."""
    race = next((race for race in races if race.scope == IMAGES), None)
    if race is None or len(race.entries) < 2:
        return []
    groups = (("baselines", False), ("ours", True))
    series = [
        Series(name, [(e.ms.p50, e.psnr) for e in race.entries if e.ours == ours], [], scattered=True)
        for name, ours in groups
    ]
    title = f"Fidelity over time, {race.size} pixels, {race.steps} steps"
    svg = chart(title, Axis("ms"), Axis("dB against the float32 reference"), [each for each in series if each.points])
    return [
        Heading("Fidelity against time", 3),
        Text("Left is faster, up is closer to the reference sampler in float32. Above 100 dB is rounding."),
        Figure(f"{prefix}-fidelity", svg, title),
    ]


def quality_section(records: Sequence[QualityRecord]) -> list[Block]:
    """Mean PSNR to the truth over seconds per photo, by data set, mask, method and steps."""
    groups = dict[tuple[str, str], list[QualityRecord]]()
    for record in records:
        if record.seconds is not None:
            groups.setdefault((record.protocol.data, record.mask), []).append(record)
    blocks = list[Block]()
    for (data, mask), group in sorted(groups.items()):
        points = dict[str, list[QualityRecord]]()
        for record in group:
            steps = record.bundle.steps if record.bundle else None
            points.setdefault(record.method + (f", {steps} steps" if steps else ""), []).append(record)
        names = sorted(points)
        found = [_place(points[name]) for name in names]
        title = f"Quality over time: {data}, mask {mask}"
        series = [Series("methods", found, names, scattered=True)]
        svg = chart(title, Axis("seconds per photo", log=True), Axis("mean PSNR, dB", zero=False), series)
        blocks.append(Figure(f"quality-{data}-{mask}".replace("/", "-"), svg, title))
    return [Heading("Quality against time"), *blocks] if blocks else []


def _place(records: Sequence[QualityRecord]) -> tuple[float, float]:
    """Median seconds, mean PSNR of whole photos."""
    return median(r.seconds or 0.0 for r in records), mean(r.quality.whole.psnr for r in records)
