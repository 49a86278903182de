"""The page above those of the devices: all of them side by side."""

from __future__ import annotations

from collections.abc import Sequence

from shadowdiffusion.benchmarks.kernels.targets import target_rows
from shadowdiffusion.benchmarks.latency.record import IMAGES, LatencyRecord
from shadowdiffusion.benchmarks.pages import text
from shadowdiffusion.benchmarks.pages.blocks import Block, Figure, Heading, Page, Points, Table, Text
from shadowdiffusion.benchmarks.pages.device_page import GENERATED
from shadowdiffusion.benchmarks.pages.results import Results
from shadowdiffusion.benchmarks.pages.svg import Bar, bars
from shadowdiffusion.benchmarks.pages.targets import targets

BASELINES = ("authors", "compile", "plain-onnx")
HEAD = (
    *("device", "networks", "size", "batch", "steps", "ours", "ms", "images/s", "dB"),
    *(f"× {name}" for name in BASELINES),
)


def overview(devices: Sequence[Results]) -> Page:
    """Devices compared, with the way to each; what is not measured is said."""
    blocks: list[Block] = [Text(GENERATED)]
    if devices:
        blocks.append(Points([f"[{_name(results)}]({results.slug}/README.md)" for results in devices]))
    rows = [
        (results, race)
        for results in devices
        for race in results.races
        if race.scope == IMAGES and race.fastest and not race.header.smoke
    ]
    if rows:
        rows.sort(key=lambda row: (row[1].model.name, row[1].size, row[1].batch, row[1].steps, row[0].slug))
        shown = [Bar(_label(*row), _ours(row[1]), f"{text.ms(_ours(row[1]))} ms") for row in rows]
        title = "The fastest of ours, everywhere"
        blocks += [
            Heading("Restorations"),
            Table(HEAD, [_row(*row) for row in rows], ("networks", "ours")),
            Figure("devices", bars(title, "ms, median", shown), title),
        ]
    if not any(race.device == "cuda" for _, race in rows):
        blocks += [Heading("Restorations on a GPU"), Text("Not measured yet. Targets:"), targets([], "cuda")]
    measured = [results for results in devices if results.kernels]
    blocks.append(Heading("Kernels"))
    if measured:
        blocks.append(Points([f"[{_name(results)}]({results.slug}/kernels.md)" for results in measured]))
    else:
        found = [[cell.strip() for cell in row.strip("|").split("|")] for row in target_rows([])]
        blocks += [
            Text("Not measured on any GPU yet; `shadowdiffusion bench kernels` does it. Targets on an H100:"),
            Table(found[0], found[2:], ("where",)),
        ]
    return Page("Measurements", blocks)


def _name(results: Results) -> str:
    headers = results.headers
    return text.device(headers[-1]) + (" (a trial, no measurement)" if headers[-1].smoke else "")


def _ours(race: LatencyRecord) -> float:
    assert race.fastest is not None
    return race.fastest.ms.p50


def _label(results: Results, race: LatencyRecord) -> str:
    return f"{race.model.name} {race.size}² ×{race.batch}, {race.steps}: {results.slug[:12]}"


def _row(results: Results, race: LatencyRecord) -> list[str]:
    assert race.fastest is not None
    name = race.fastest.name
    return [
        f"[{_name(results)}]({results.slug}/README.md)",
        race.model.name,
        *(str(number) for number in (race.size, race.batch, race.steps)),
        name,
        text.ms(race.fastest.ms.p50),
        f"{1e3 * race.batch / race.fastest.ms.p50:.3g}",
        text.decibels(race.fastest.psnr),
        *(text.interval(race.speedup(name, baseline)) for baseline in BASELINES),
    ]
