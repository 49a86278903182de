"""Who wins a race: a real difference does, noise does not."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable
from typing import Any

import pytest

from shadowdiffusion.export.engines import race as race_module
from shadowdiffusion.export.engines.race import LEAST, faster, milliseconds, race, ratio, steady

BASE = [1.0, 1.1, 0.9, 1.3, 1.0, 3.0, 1.0, 1.05]


class Clock:
    """Time that passes only while something runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def taking(self, *seconds: float) -> Callable[[], None]:
        """Something that takes these times, one after the other and again from the first."""
        times = itertools.cycle(seconds)

        def run() -> None:
            self.now += next(times)

        return run

    def race(self, progress: Any = lambda fraction, phase: None, **runs: Callable[[], None]) -> dict[str, list[float]]:
        return race(runs, progress, clock=self, rest=lambda seconds: None)


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits that builds have, not those of the tests of this folder."""
    for name, value in (("MOST", 31), ("SPREAD", 0.1)):
        monkeypatch.setattr(race_module, name, value)


def test_all_take_turns_in_every_round() -> None:
    order, fractions, clock = list[str](), list[float](), Clock()
    names = ("a", "b", "c")

    def entering(name: str) -> Callable[[], None]:
        run = clock.taking(0.01)

        def enter() -> None:
            order.append(name)
            run()

        return enter

    runs = {name: entering(name) for name in names}
    taken = clock.race(lambda fraction, phase: fractions.append(fraction), **runs)
    rounds = len(taken["a"])
    assert rounds == race_module.MOST  # they take little: as many as there may be
    assert [len(times) for times in taken.values()] == [rounds] * 3
    turns = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert len(turns) == rounds + 2
    assert all(sorted(turn) == list(names) for turn in turns)
    assert {turn[0] for turn in turns} == set(names)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_budget_ends_long_races() -> None:
    clock = Clock()
    assert len(clock.race(a=clock.taking(3.0))["a"]) == LEAST
    assert clock.now == 3.0 * (LEAST + 2)


def test_a_disturbed_race_goes_on_until_it_is_steady() -> None:
    clock = Clock()
    taken = clock.race(a=clock.taking(*[3.0, 9.0] * 6, *[3.0] * 50))
    assert steady(taken)
    assert statistics.median(taken["a"]) == 3.0
    assert LEAST + 2 < clock.now / 3.0 < 2 * (race_module.PATIENCE * LEAST + 2)


def test_a_race_that_never_gets_steady_ends_and_says_so() -> None:
    clock = Clock()
    taken = clock.race(a=clock.taking(3.0), b=clock.taking(3.0, 9.0))
    assert not steady(taken)
    assert len(taken["b"]) == LEAST
    assert clock.now == pytest.approx((race_module.PATIENCE * LEAST + 2) * 9.0, abs=6.0)


def test_medians_ignore_a_disturbed_round() -> None:
    assert milliseconds(BASE) == 1025
    assert ratio([0.9 * seconds for seconds in BASE], BASE) == 0.9


def test_a_gain_in_every_round_counts_however_much_rounds_differ() -> None:
    assert faster([0.95 * seconds for seconds in BASE], BASE)


def test_less_than_two_percent_is_not_worth_it() -> None:
    assert not faster([0.99 * seconds for seconds in BASE], BASE)


def test_a_gain_in_half_of_the_rounds_is_noise() -> None:
    noisy = [seconds * factor for seconds, factor in zip(BASE, [0.8, 1.1] * 4, strict=True)]
    assert ratio(noisy, BASE) <= 0.98
    assert not faster(noisy, BASE)
