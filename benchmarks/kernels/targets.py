"""What the kernels are to reach, and whether the data say that they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shadowdiffusion.benchmarks.kernels.record import COMPILED, NAIVE, KernelRecord


@dataclass(frozen=True)
class Target:
    """A lower limit that holds for every record concerned. figure: what is compared, None where it was not timed."""

    text: str
    limit: float
    concerns: Callable[[KernelRecord], bool]
    figure: Callable[[KernelRecord], float | None]


def _over(baseline: str) -> Callable[[KernelRecord], float | None]:
    def figure(record: KernelRecord) -> float | None:
        found = record.speedup(baseline)
        return found.value if found else None

    return figure


def _step(record: KernelRecord) -> bool:
    return record.kernel == "prior_step" and record.height * record.width == 256 * 256


TARGETS = (
    Target(
        "streaming kernels from 1024×1024 on: share of the copy bandwidth",
        0.85,
        lambda record: record.streaming and record.height * record.width >= 1024 * 1024,
        lambda record: record.share,
    ),
    Target("one step's arithmetic at 256×256: times faster than a naive loop, eager", 8.0, _step, _over(NAIVE)),
    Target("one step's arithmetic at 256×256: times faster than torch.compile", 1.3, _step, _over(COMPILED)),
    Target(
        "group_norm_silu at every size of the paper's U-Net: times faster than torch.compile",
        1.0,
        lambda record: record.kernel == "group_norm_silu",
        _over(COMPILED),
    ),
)


def target_rows(records: Sequence[KernelRecord]) -> list[str]:
    """A Markdown table: every target beside the worst figure among the records that it concerns."""
    rows = ["| target | at least | worst measured | where | |", "|---|---|---|---|---|"]
    for target in TARGETS:
        figures = [(target.figure(record), record) for record in records if target.concerns(record)]
        timed = [(figure, record) for figure, record in figures if figure is not None]
        if not timed:
            rows.append(f"| {target.text} | {target.limit:g} | not measured | | |")
            continue
        worst, record = min(timed, key=lambda found: found[0])
        verdict = "met" if worst >= target.limit else "missed"
        where = f"{record.kernel} {record.variant} {record.images}×{record.channels}×{record.height}×{record.width}"
        rows.append(f"| {target.text} | {target.limit:g} | {worst:.2f} | {where}, of {len(timed)} | {verdict} |")
    return rows
