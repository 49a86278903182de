"""Clocks, and races of variants against each other: what every benchmark of speed is timed with. Times are in ms.

A run is a list of calls, one per set of inputs, timed together: the clock's resolution divides by their number, and
no call finds its inputs in a cache if the sets together exceed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter, sleep
from typing import TYPE_CHECKING, NamedTuple, Protocol

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.distribution import SPREAD, distribution, steady

if TYPE_CHECKING:
    import torch

Call = Callable[[], object]
Run = Callable[[], float]
"""Runs once; returns ms per call."""

MOST_FLUSHES, TRIES = 64, 10
"""Passes over the flush buffers before a run, about 5 ms on an H100; and runs in a row that may begin too early."""


class Clock(Protocol):
    """Makes runs of calls."""

    name: str

    def prepare(self, calls: Sequence[Call]) -> Run:
        """The run of these calls, at least one; its first times may hold whatever is done only once."""
        ...


class WallClock:
    """Time as the caller of a function sees it, with the launches that a GPU waits for.

    synchronise: waits until the device is done; nothing to do on a CPU.
    """

    name = "wall"

    def __init__(self, synchronise: Callable[[], object] = lambda: None) -> None:
        self._synchronise = synchronise

    def prepare(self, calls: Sequence[Call]) -> Run:
        """As `Clock`."""

        def run() -> float:
            self._synchronise()
            started = perf_counter()
            for call in calls:
                call()
            self._synchronise()
            return 1e3 * (perf_counter() - started) / len(calls)

        return run


class DeviceClock:
    """Time that a GPU takes, without the host: a captured graph of the calls between two events, caches cold.

    Before every run a buffer of twice the L2 cache is written, which evicts all inputs, and another one read, which
    evicts the written lines: else the run would pay for writing them back. The flush also keeps the GPU busy until the
    host has queued the run; a run that began before it was queued is repeated after a longer flush.
    """

    name = "device"

    def __init__(self, device: torch.device) -> None:
        import torch

        self._cuda = torch.cuda
        self.cache_bytes: int = torch.cuda.get_device_properties(device).L2_cache_size
        self._written = torch.empty(2 * self.cache_bytes, dtype=torch.uint8, device=device)
        self._read = torch.ones(2 * self.cache_bytes // 4, device=device)
        self._sum = torch.empty((), device=device)

    def prepare(self, calls: Sequence[Call]) -> Run:
        """As `Clock`. Every call keeps what it returns, so that none writes where another has just written.

        Calls run once before they are captured, which compiles what compiles late.
        """
        cuda = self._cuda
        for call in calls:
            call()
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, capture_error_mode="thread_local"):
            kept = [call() for call in calls]
        graph.replay()  # the first time uploads it
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        flushes = 1

        def run() -> float:
            nonlocal flushes
            for _ in range(TRIES):
                self._flush(flushes)
                start.record()
                graph.replay()
                end.record()
                queued_in_time = not start.query()
                end.synchronize()
                if queued_in_time:
                    return start.elapsed_time(end) / len(kept)
                flushes = min(2 * flushes, MOST_FLUSHES)
            raise BenchmarkError("the host cannot queue a run in time: stop what else keeps this machine busy")

        return run

    def _flush(self, passes: int) -> None:
        import torch

        for _ in range(passes):
            self._written.zero_()
            torch.sum(self._read, dim=0, out=self._sum)


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    least, most: rounds; seconds: for the rounds, within these bounds; warm_up: rounds after which measuring begins
    even though times still drift; attempts: races until one has no spread above `spread`; pause: seconds of rest
    before every turn, where threads of whoever had the last turn go on spinning for a while.
    """

    least: int = 20
    most: int = 100
    seconds: float = 0.5
    warm_up: int = 60
    attempts: int = 3
    spread: float = SPREAD
    pause: float = 0.0


SMOKE = Effort(least=1, most=1, seconds=0, warm_up=0, attempts=1, spread=float("inf"))
"""Runs everything, measures nothing."""


class Race(NamedTuple):
    """ms per call by variant, in order of the rounds; warm_up: rounds before; noisy: spread by variant, if too wide."""

    samples: dict[str, list[float]]
    warm_up: int
    noisy: dict[str, float]


def race(runs: Mapping[str, Run], effort: Effort) -> Race:
    """Time the variants against each other until nothing spreads too wide, or the attempts are used up."""
    for _ in range(effort.attempts):
        result = _race(runs, effort)
        if not result.noisy:
            break
    return result


def _race(runs: Mapping[str, Run], effort: Effort) -> Race:
    """One race: all variants take a turn in each round, so that drift hits all of them; the order turns too."""
    names = list(runs)
    warm: dict[str, list[float]] = {name: [] for name in names}
    done = 0
    while done < effort.warm_up and not all(steady(samples) for samples in warm.values()):
        _round(runs, names, done, warm, effort.pause)
        done += 1
    samples: dict[str, list[float]] = {name: [] for name in names}
    deadline = perf_counter() + effort.seconds
    rounds = 0
    while rounds < effort.least or (rounds < effort.most and perf_counter() < deadline):
        _round(runs, names, rounds, samples, effort.pause)
        rounds += 1
    spreads = {name: distribution(times).spread for name, times in samples.items()}
    return Race(samples, done, {name: spread for name, spread in spreads.items() if spread > effort.spread})


def _round(
    runs: Mapping[str, Run], names: Sequence[str], number: int, samples: dict[str, list[float]], pause: float
) -> None:
    for place in range(len(names)):
        name = names[(place + number) % len(names)]
        if pause:
            sleep(pause)
        samples[name].append(runs[name]())
