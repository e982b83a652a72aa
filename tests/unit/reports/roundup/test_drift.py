"""The measures of drift: against values worked out by hand, and against what chance does."""

import math
import random
from collections import Counter

import pytest

from reports.roundup import drift
from reports.roundup.precision import is_below_floor, wilson_lower


def test_equal_mixes_are_at_no_distance_and_disjoint_ones_at_one_bit() -> None:
    assert drift.jensen_shannon({"a": 3, "b": 1}, {"a": 30, "b": 10}) == 0.0
    assert drift.jensen_shannon({"a": 5}, {"b": 9}) == 1.0


def test_the_divergence_is_the_one_of_lin() -> None:
    expected = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2  # (1, 0) and (1/2, 1/2)
    assert drift.jensen_shannon({"a": 4}, {"a": 2, "b": 2}) == pytest.approx(expected)
    assert drift.jensen_shannon({"a": 2, "b": 2}, {"a": 4}) == pytest.approx(expected)


def test_the_index_of_equal_histograms_is_zero_and_grows_with_what_moves() -> None:
    assert drift.stability_index([10, 20, 30], [10, 20, 30]) == 0.0
    assert drift.stability_index([1000, 0], [0, 1000]) > drift.stability_index([600, 400], [400, 600]) > 0.1
    shares = [(0.6, 0.4), (0.4, 0.6)]
    assert drift.stability_index([60_000, 40_000], [40_000, 60_000]) == pytest.approx(
        sum((p - q) * math.log(p / q) for p, q in shares), rel=1e-4
    )


@pytest.mark.parametrize(("freedom", "value"), [(1, 6.635), (4, 13.277), (9, 21.666), (30, 50.892)])
def test_the_bound_of_chance_is_that_of_the_tables(freedom: int, value: float) -> None:
    assert drift.chi_square_99(freedom) == pytest.approx(value, rel=0.02)
    assert drift.chi_square_99(0) == 0.0


@pytest.mark.parametrize(("n", "m"), [(60, 240), (500, 2_000)])
def test_what_does_not_drift_passes_the_bounds_about_once_in_a_hundred(n: int, m: int) -> None:
    draw = random.Random(3)
    passed = {"index": 0, "mix": 0}
    for _ in range(1_000):
        now, before = (Counter(draw.choices(range(10), k=size)) for size in (n, m))
        index = drift.stability_index([now[k] for k in range(10)], [before[k] for k in range(10)])
        passed["index"] += index > drift.chance_of_index(n, m, 10)
        mix = drift.jensen_shannon({str(k): v for k, v in now.items()}, {str(k): v for k, v in before.items()})
        passed["mix"] += mix > drift.chance_of_divergence(n, m, 10)
    assert passed["index"] <= 25
    assert passed["mix"] <= 25


@pytest.mark.parametrize(
    ("useful", "marked", "lower"), [(0, 0, 0.0), (1, 1, 0.2065), (0, 10, 0.0), (9, 10, 0.5958), (50, 100, 0.4038)]
)
def test_the_lower_bound_is_the_one_of_wilson(useful: int, marked: int, lower: float) -> None:
    assert wilson_lower(useful, marked) == pytest.approx(lower, abs=1e-4)


def test_a_rule_is_below_its_floor_from_ten_marks_on_only() -> None:
    assert not is_below_floor(0, 9)
    assert is_below_floor(0, 10)
    assert is_below_floor(8, 10)  # 0.490
    assert not is_below_floor(9, 10)  # 0.596
