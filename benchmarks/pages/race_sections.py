"""Races: who is how fast and how exact, what each optimisation brings, and how that goes with steps and sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shadowdiffusion.benchmarks.latency.record import IMAGES, PHOTO, Entry, LatencyRecord
from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Points, Table, Text
from shadowdiffusion.benchmarks.pages.svg import Axis, Bar, Series, bars, chart
from shadowdiffusion.benchmarks.pages.text import NOTHING, decibels, interval, ms

SHOWN = ("authors", "eager", "compile", "diffusers", "plain-onnx", "bundle")
"""Contestants in plots over steps and sizes, with every engine."""


def race_sections(races: Sequence[LatencyRecord], prefix: str) -> list[Block]:
    """All races of one model. prefix: of the names of its plots."""
    blocks = list[Block]()
    for race in races:
        blocks += _race(race, prefix)
    first = next((race for race in races if race.scope == IMAGES and _added(race)), None)
    if first:
        blocks += _ablation(first)
    blocks += _over([race for race in races if race.scope == IMAGES], prefix)
    return blocks


def _race(race: LatencyRecord, prefix: str) -> list[Block]:
    title = f"{race.size}×{race.size}, batch {race.batch}, {race.steps} steps"
    if race.scope == PHOTO and race.photo:
        title = f"A photo of {race.photo[0]}×{race.photo[1]} at working size {race.size}, {race.steps} steps"
    base = "authors" if race.entry("authors") else race.entries[0].name
    name = f"{prefix}-{race.scope}-{race.size}-{race.batch}-{race.steps}"
    shown = [_bar(each) for each in race.entries]
    head = ["", "p50", "p90", "p99", "min", "images/s", "dB", f"× {base}", "× plain-onnx", "device MiB", "J/image"]
    blocks: list[Block] = [
        Heading(title, 3),
        Text(
            f"{race.threads} CPU threads, {race.device}; {race.rounds} rounds after {race.warm_up} of warm-up"
            + (", with noisy entries" if race.noisy else "")
            + f". The whole process peaked at {race.host_mib:.0f} MiB."
        ),
        Figure(name, bars(title, "ms: median, and from the minimum to p90", shown), title),
        Table(head, [_row(race, each, base) for each in race.entries]),
    ]
    if race.failures:
        blocks.append(Points([f"{name} did not race: {reason}" for name, reason in sorted(race.failures.items())]))
    return blocks


def _bar(each: Entry) -> Bar:
    label = f"{ms(each.ms.p50)} ms, {decibels(each.psnr)} dB"
    return Bar(each.name, each.ms.p50, label, each.ms.min, each.ms.p90, int(each.ours))


def _row(race: LatencyRecord, each: Entry, base: str) -> list[str]:
    optional = (each.device_mib, each.joules)
    return [
        each.name + (" (noisy)" if each.name in race.noisy else ""),
        *(ms(value) for value in (each.ms.p50, each.ms.p90, each.ms.p99, each.ms.min)),
        f"{1e3 * race.batch / each.ms.p50:.3g}",
        decibels(each.psnr) + ("" if each.exact else " *"),
        interval(race.speedup(each.name, base)),
        interval(race.speedup(each.name, "plain-onnx")),
        *(NOTHING if value is None else f"{value:.3g}" for value in optional),
    ]


def _added(race: LatencyRecord) -> list[Entry]:
    return [each for each in race.entries if each.parent and race.entry(each.parent)]


def _ablation(race: LatencyRecord) -> list[Block]:
    rows = []
    for each in _added(race):
        assert each.parent is not None
        ratio = race.speedup(each.name, each.parent)
        exact = "exact" if each.exact else "approximate"
        rows.append([each.name, each.title, each.parent, ms(each.ms.p50), interval(ratio), decibels(each.psnr), exact])
    return [
        Heading("Each optimisation by itself", 3),
        Text(
            f"At {race.size}×{race.size}, batch {race.batch}, {race.steps} steps. Every row adds one thing to the row "
            "named in the third column; the ratio is that row's time over this one's, so above 1 it helps."
        ),
        Table(["", "what it adds", "to", "ms", "times faster", "dB", ""], rows, ("what it adds", "to", "")),
    ]


def _over(races: Sequence[LatencyRecord], prefix: str) -> list[Block]:
    """Plots over steps and over resolution, where races differ in nothing else."""
    blocks = list[Block]()
    plots: list[tuple[str, str, Callable[[LatencyRecord], float], Callable[[LatencyRecord], object]]] = [
        ("steps", "steps", lambda race: race.steps, lambda race: (race.size, race.batch)),
        ("resolution", "side in pixels", lambda race: race.size, lambda race: (race.steps, race.batch)),
    ]
    for name, title, amount, rest in plots:
        groups = dict[object, list[LatencyRecord]]()
        for race in races:
            groups.setdefault(rest(race), []).append(race)
        for group in groups.values():
            if len(group) < 2:
                continue
            group = sorted(group, key=amount)
            series = [Series(who, _points(group, who, amount)) for who in _names(group)]
            fixed = f"{group[0].size} pixels" if name == "steps" else f"{group[0].steps} steps"
            what = f"{fixed}, batch {group[0].batch}"
            label = f"Time over {name}, {what}"
            svg = chart(label, Axis(title), Axis("ms", log=True), [one for one in series if one.points])
            blocks.append(Figure(f"{prefix}-{name}-{what.replace(', ', '-').replace(' ', '-')}", svg, label))
    return [Heading("Over steps and resolution", 3), *blocks] if blocks else []


def _names(races: Sequence[LatencyRecord]) -> list[str]:
    found = dict.fromkeys(each.name for race in races for each in race.entries)
    return [name for name in found if name in SHOWN or name.startswith("engine")]


def _points(
    races: Sequence[LatencyRecord], name: str, amount: Callable[[LatencyRecord], float]
) -> list[tuple[float, float]]:
    timed = [(race, race.entry(name)) for race in races]
    return [(amount(race), entry.ms.p50) for race, entry in timed if entry]
