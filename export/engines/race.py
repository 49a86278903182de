"""Timing variants against each other so that the difference, not the mood of the machine, decides."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from shadowdiffusion.export.commands.console import Progress

MOST, LEAST = 31, 7
"""Rounds of a race: as many as fit into the budget, within these."""
PATIENCE = 3
"""How many times as many rounds a race may take until its times are steady."""
SPREAD = 0.1
"""Part of the median by which the quartiles of steady times are apart at most."""
BUDGET = 12.0
"""Seconds for one race, unless the fewest rounds take longer."""
WORTH = 0.98
"""A variant must take at most this part of the time; less than 2 % is not worth another graph."""
PAUSE = 0.05
"""Seconds of rest before every turn: threads of the session before go on spinning for milliseconds, and would slow down
whoever comes next (by 60 % with four threads on four cores).
"""
MAJORITY = 0.75
"""Part of the rounds in which it must have been faster, or the gain is noise."""


def race(
    variants: Mapping[str, Callable[[], object]],
    progress: Progress,
    clock: Callable[[], float] = time.perf_counter,
    rest: Callable[[float], None] = time.sleep,
) -> dict[str, list[float]]:
    """Seconds of every variant in every round, in order of the rounds, at most MOST of them.

    While the times are not steady (see `steady`) it goes on for PATIENCE times as long, and the last rounds count.

    All variants take their turns in each round, so that what disturbs one round disturbs all of them; the order turns,
    so that nobody always runs after the same one. Two rounds before the first count for nothing.
    """
    names = list(variants)
    taken: dict[str, list[float]] = {name: [] for name in names}
    started, rounds, done = clock(), LEAST, -2

    def last() -> dict[str, list[float]]:
        return {name: times[-rounds:] for name, times in taken.items()}

    while done < rounds or (done < PATIENCE * rounds and not steady(last())):
        for place in range(len(names)):
            name = names[(place + done) % len(names)]
            rest(PAUSE)
            begun = clock()
            variants[name]()
            if done >= 0:
                taken[name].append(clock() - begun)
        done += 1
        if done == 0:
            started = clock()
        elif done > 0:
            one = (clock() - started) / done
            rounds = min(MOST, max(LEAST, int(BUDGET / one)))
            progress(min(1.0, done / rounds), "")
    return last()


def steady(taken: Mapping[str, Sequence[float]]) -> bool:
    """Whether nothing disturbed the times of a race: the quartiles of every variant are near each other."""
    for seconds in taken.values():
        low, middle, high = statistics.quantiles(seconds, n=4)
        if high - low > SPREAD * middle:
            return False
    return True


def milliseconds(seconds: Sequence[float]) -> float:
    """The median, in ms."""
    return round(1e3 * statistics.median(seconds), 2)


def ratio(variant: Sequence[float], base: Sequence[float]) -> float:
    """Time of a variant as part of that of `base`: the median over the rounds of one race."""
    return statistics.median(mine / other for mine, other in zip(variant, base, strict=True))


def faster(variant: Sequence[float], base: Sequence[float]) -> bool:
    """Whether a variant is worth having: by 2 % or more, and in three of four rounds."""
    wins = sum(mine < other for mine, other in zip(variant, base, strict=True))
    return ratio(variant, base) <= WORTH and wins >= MAJORITY * len(variant)
