"""Who wins a race: a real difference does, noise does not."""

from __future__ import annotations

import pytest

from export.engines import race as race_module
from export.engines.race import LEAST, faster, milliseconds, race, ratio

BASE = [1.0, 1.1, 0.9, 1.3, 1.0, 3.0, 1.0, 1.05]


def test_all_take_turns_in_every_round() -> None:
    order: list[str] = []
    fractions: list[float] = []
    names = ("a", "b", "c")
    runs = {name: (lambda name=name: order.append(name)) for name in names}
    taken = race(runs, lambda fraction, phase: fractions.append(fraction))
    rounds = len(taken["a"])
    assert rounds == race_module.MOST  # nothing takes no time: as many as there may be
    assert [len(times) for times in taken.values()] == [rounds] * 3
    turns = [order[start : start + 3] for start in range(0, len(order), 3)]
    assert len(turns) == rounds + 2
    assert all(sorted(turn) == list(names) for turn in turns)
    assert {turn[0] for turn in turns} == set(names)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_a_budget_ends_long_races(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race_module, "BUDGET", 0.0)
    assert len(race({"a": lambda: None}, lambda fraction, phase: None)["a"]) == LEAST


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
