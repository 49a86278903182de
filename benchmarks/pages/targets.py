"""What whole restorations are to reach, and whether the data say that they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shadowdiffusion.benchmarks.latency.record import IMAGES, LatencyRecord
from shadowdiffusion.benchmarks.pages.blocks import Table

Figure = Callable[[LatencyRecord], float | None]


@dataclass(frozen=True)
class Target:
    """A limit for the race of the paper's networks of one size, batch and 5 steps. least: else it is an upper limit."""

    text: str
    limit: float
    least: bool
    device: str
    size: int
    batch: int
    figure: Figure

    def row(self, races: Sequence[LatencyRecord]) -> list[str]:
        """The target, its limit, what was measured, and the verdict."""
        sign = "≥" if self.least else "≤"
        found = next((race for race in races if self._concerns(race)), None)
        value = None if found is None else self.figure(found)
        if value is None:
            return [self.text, f"{sign} {self.limit:g}", "not measured", ""]
        met = value >= self.limit if self.least else value <= self.limit
        return [self.text, f"{sign} {self.limit:g}", f"{value:.3g}", "met" if met else "missed"]

    def _concerns(self, race: LatencyRecord) -> bool:
        where = race.model.size, race.scope, race.device, race.size, race.batch, race.steps
        return where == ("paper", IMAGES, self.device, self.size, self.batch, 5)


def _over(baseline: str) -> Figure:
    def figure(race: LatencyRecord) -> float | None:
        ratio = race.speedup(race.best.name, baseline) if race.best else None
        return ratio.value if ratio else None

    return figure


def _int8(race: LatencyRecord) -> float | None:
    ratio = race.speedup("engine onnxruntime int8", "engine onnxruntime fp32")
    return ratio.value if ratio else None


def _milliseconds(race: LatencyRecord) -> float | None:
    return race.fastest.ms.p50 if race.fastest else None


def _fastest_over(baseline: str) -> Figure:
    def figure(race: LatencyRecord) -> float | None:
        ratio = race.speedup(race.fastest.name, baseline) if race.fastest else None
        return ratio.value if ratio else None

    return figure


def _throughput(race: LatencyRecord) -> float | None:
    return 1e3 * race.batch / race.fastest.ms.p50 if race.fastest else None


TARGETS = (
    Target("CPU, 256², batch 1: exact, times as fast as the authors' loop", 1.5, True, "cpu", 256, 1, _over("authors")),
    Target("CPU: exact, times as fast as plain ONNX Runtime", 1.15, True, "cpu", 256, 1, _over("plain-onnx")),
    Target("CPU: int8, times as fast as the same in float32", 1.3, True, "cpu", 256, 1, _int8),
    Target("H100, 256², batch 1: ms, from host memory to host memory", 8, False, "cuda", 256, 1, _milliseconds),
    Target("H100: times as fast as the authors' loop", 10, True, "cuda", 256, 1, _fastest_over("authors")),
    Target("H100: times as fast as torch.compile", 1.3, True, "cuda", 256, 1, _fastest_over("compile")),
    Target("H100, 512², batch 1: ms", 30, False, "cuda", 512, 1, _milliseconds),
    Target("H100, 256², batch 16: images/s", 400, True, "cuda", 256, 16, _throughput),
)


def targets(races: Sequence[LatencyRecord], device: str) -> Table:
    """Every target for a "cpu" or "cuda"; ours is the fastest exact one there, and the fastest one on a GPU."""
    rows = [target.row(races) for target in TARGETS if target.device == device]
    return Table(["paper size, 5 steps", "limit", "measured", ""], rows, ("",))
