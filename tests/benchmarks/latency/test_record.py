"""What a record says of itself."""

from __future__ import annotations

from shadowdiffusion.benchmarks.latency.record import newest, quiet
from tests.benchmarks.latency.records import entry, race


def test_speed_ups_divide_round_by_round() -> None:
    record = race([entry("authors", [40.0, 60.0, 50.0], ours=False), entry("bundle", [10.0, 15.0, 12.5])])
    found = record.speedup("bundle", over="authors")
    assert found is not None
    assert (found.value, found.low, found.high) == (4.0, 4.0, 4.0)
    assert record.speedup("bundle", over="nobody") is None
    assert record.images_per_second("bundle") == 80.0


def test_the_best_is_ours_and_exact() -> None:
    entries = [entry("authors", [1.0], ours=False), entry("bundle", [9.0]), entry("engine", [5.0])]
    entries.append(entry("engine int8", [2.0], exact=False))
    best = race(entries).best
    assert best is not None
    assert best.name == "engine"
    assert race(entries[:1]).best is None


def test_noisy_entries_leave_a_quiet_record() -> None:
    record = race([entry("authors", [1.0]), entry("bundle", [9.0])], noisy={"bundle": 0.31})
    found = quiet(record)
    assert [each.name for each in found.entries] == ["authors"]
    assert found.failures == {"bundle": "times spread by 31%"}
    assert found.noisy == {}


def test_the_newest_counts_and_a_noisy_one_only_alone() -> None:
    first, second = race([entry("bundle", [1.0])]), race([entry("bundle", [2.0])])
    noisy = race([entry("bundle", [3.0])], noisy={"bundle": 1.0})
    assert newest([first, second]) == [second]
    assert newest([first, noisy]) == [first]
    assert newest([noisy, first]) == [first]
    assert newest([noisy]) == [noisy]
    assert len(newest([first, race([entry("bundle", [1.0])], steps=25)])) == 2
