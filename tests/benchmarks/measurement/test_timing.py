"""Races on clocks whose times are known, the wall clock on real calls, and the device clock's rules on a fake GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from shadowdiffusion.benchmarks.errors import BenchmarkError
from shadowdiffusion.benchmarks.measurement.timing import DeviceClock, Effort, WallClock, race


def scripted(times: Callable[[int], float], log: list[str], name: str) -> Callable[[], float]:
    count = 0

    def run() -> float:
        nonlocal count
        log.append(name)
        count += 1
        return times(count - 1)

    return run


EFFORT = Effort(least=4, most=4, seconds=0, warm_up=30, attempts=3)


def test_variants_take_turns_and_the_order_turns_too() -> None:
    log: list[str] = []
    runs = {name: scripted(lambda _: 1.0, log, name) for name in "abc"}
    found = race(runs, EFFORT)
    assert found.warm_up == 10
    assert "".join(log[30:]) == "abc" + "bca" + "cab" + "abc"
    assert all(len(samples) == 4 for samples in found.samples.values())


def test_measuring_begins_once_all_are_warm() -> None:
    log: list[str] = []
    runs = {
        "quick": scripted(lambda _: 1.0, log, "quick"),
        "slow to warm": scripted(lambda run: max(2.0, 20.0 - 1.5 * run), log, "slow to warm"),
    }
    found = race(runs, EFFORT)
    assert found.samples["slow to warm"] == [2.0] * 4
    assert 12 + 5 <= found.warm_up <= 30


def test_warm_up_ends_even_if_times_drift() -> None:
    found = race({"drifting": scripted(lambda run: 1.1**run, [], "drifting")}, EFFORT)
    assert found.warm_up == 30


def test_wide_spread_is_tried_again_and_then_named() -> None:
    wild: list[str] = []
    runs = {
        "wild": scripted(lambda run: 1.0 + run % 2, wild, "wild"),
        "calm": scripted(lambda _: 1.0, [], "calm"),
    }
    found = race(runs, EFFORT)
    assert set(found.noisy) == {"wild"}
    assert found.noisy["wild"] == pytest.approx(1 / 1.5)
    assert len(wild) == 3 * (30 + 4)  # it never gets warm either


def test_a_disturbance_that_passes_leaves_no_trace() -> None:
    found = race({"a": scripted(lambda run: 1.0 + run % 2 if run < 34 else 1.0, [], "a")}, EFFORT)
    assert found.noisy == {}
    assert found.samples["a"] == [1.0] * 4


def test_rounds_go_on_until_the_time_is_used() -> None:
    def run() -> float:
        time.sleep(0.01)
        return 1.0

    effort = Effort(least=2, most=1000, seconds=0.1, warm_up=0)
    assert 2 <= len(race({"a": run}, effort).samples["a"]) <= 11


def test_the_wall_clock_divides_by_the_calls_and_waits_for_the_device() -> None:
    log: list[str] = []

    def first() -> None:
        log.append("one")

    def second() -> None:
        log.append("two")
        time.sleep(0.02)

    run = WallClock(lambda: log.append("wait")).prepare([first, second])
    assert log == []
    started = time.perf_counter()
    taken = run()
    elapsed = time.perf_counter() - started
    assert log == ["wait", "one", "two", "wait"]
    assert 10 <= taken <= 1000 * elapsed / 2


class FakeGpu:
    """Stands in for torch.cuda: every replay takes `ms`, and runs begin before they are queued while `late` > 0."""

    def __init__(self, ms: float, late: int) -> None:
        self.ms, self.late, self.replays = ms, late, 0
        gpu = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None: ...

            def synchronize(self) -> None: ...

            def query(self) -> bool:
                gpu.late -= 1
                return gpu.late >= 0

            def elapsed_time(self, end: object) -> float:
                return gpu.ms

        class CUDAGraph:
            def replay(self) -> None:
                gpu.replays += 1

        @contextmanager
        def graph(made: object, capture_error_mode: str) -> Iterator[None]:
            assert isinstance(made, CUDAGraph)
            yield

        self.Event, self.CUDAGraph, self.graph = Event, CUDAGraph, graph

    def get_device_properties(self, device: object) -> SimpleNamespace:
        return SimpleNamespace(L2_cache_size=1 << 12)

    def synchronize(self) -> None: ...


def device_run(monkeypatch: pytest.MonkeyPatch, gpu: FakeGpu, calls: int) -> Callable[[], float]:
    monkeypatch.setattr(torch, "cuda", gpu)
    return DeviceClock(torch.device("cpu")).prepare([lambda: torch.zeros(1)] * calls)


def test_the_device_clock_divides_the_time_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    run = device_run(monkeypatch, FakeGpu(ms=6.0, late=0), calls=4)
    assert run() == 1.5


def test_a_run_that_was_not_queued_in_time_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu(ms=6.0, late=3)
    run = device_run(monkeypatch, gpu, calls=2)
    uploaded = gpu.replays
    assert run() == 3.0
    assert gpu.replays - uploaded == 4
    assert run() == 3.0
    assert gpu.replays - uploaded == 5


def test_a_host_that_never_keeps_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    run = device_run(monkeypatch, FakeGpu(ms=6.0, late=1000), calls=2)
    with pytest.raises(BenchmarkError, match="cannot queue a run in time"):
        run()


@pytest.mark.gpu
@pytest.mark.xdist_group("cuda")
def test_a_large_copy_takes_longer_than_a_small_one_on_the_device() -> None:
    clock = DeviceClock(torch.device("cuda", torch.cuda.current_device()))
    times = []
    for size in (1 << 26, 1 << 29):
        source = torch.randint(256, (size,), dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        run = clock.prepare([lambda: target.copy_(source)] * 2)  # noqa: B023
        times.append(sorted(run() for _ in range(9))[4])
        assert torch.equal(source, target)
    assert times[1] > 4 * times[0]
