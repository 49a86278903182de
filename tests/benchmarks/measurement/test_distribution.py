"""Percentiles by hand, ratios whose truth is known, and the end of warm-up."""

import numpy as np
import pytest

from shadowdiffusion.benchmarks.measurement.distribution import distribution, ratio, steady


def test_percentiles_of_a_hundred_and_one_numbers() -> None:
    found = distribution([float(value) for value in range(200, 99, -1)])  # 100 .. 200
    assert (found.count, found.min, found.p50, found.p90, found.p99) == (101, 100, 150, 190, 199)
    assert found.spread == pytest.approx(50 / 150)


def test_one_sample_has_no_spread() -> None:
    found = distribution([3.0])
    assert (found.min, found.p99, found.spread) == (3, 3, 0)


def test_an_exact_ratio_has_an_interval_of_no_width() -> None:
    below = [1.0, 1.5, 0.7, 1.1]
    assert ratio([2 * value for value in below], below).value == 2
    found = ratio([6.0] * 9, [2.0] * 9)
    assert (found.value, found.low, found.high) == (3, 3, 3)


def test_what_disturbs_a_round_disturbs_both_of_it() -> None:
    mood = np.random.default_rng(1).lognormal(0, 0.5, 80)
    jitter = np.random.default_rng(2).lognormal(0, 0.01, (2, 80))
    paired = ratio(list(1.3 * mood * jitter[0]), list(mood * jitter[1]))
    shuffled = ratio(list(1.3 * mood * jitter[0]), list(np.random.default_rng(3).permutation(mood) * jitter[1]))
    assert paired.low < 1.3 < paired.high
    assert paired.high - paired.low < (shuffled.high - shuffled.low) / 2


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        below, above = np.random.default_rng(seed).lognormal(0, 0.1, (2, 60))
        found = ratio(list(1.2 * above), list(below))
        assert found.low <= found.value <= found.high
        hits += found.low <= 1.2 <= found.high
    assert 180 <= hits <= 198  # 95 % of 200 are 190


def test_equal_data_give_equal_intervals() -> None:
    above, below = np.random.default_rng(7).lognormal(0, 0.1, (2, 30)).tolist()
    assert ratio(above, below) == ratio(above, below)


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1.0] * 9, False),  # two windows of five are needed
        ([1.0] * 10, True),
        ([9.0] * 20 + [1.0] * 10, True),
        ([2.0] * 5 + [1.0] * 5, False),
        ([1.0, 1, 1, 1, 50, 1, 1, 1, 1, 50], True),  # single outliers do not matter
        ([1 - 0.02 * place for place in range(10)], False),
    ],
)
def test_warm_up_ends_once_medians_agree(samples: list[float], expected: bool) -> None:
    assert steady(samples) is expected
