"""The naive rules on both sides of their thresholds."""

import pytest

from bench import naive

A, B, C = ("read", "a"), ("read", "b"), ("read", "c")


@pytest.mark.parametrize(
    ("calls", "places"),
    [
        ([A, A], []),
        ([A, A, A], [2]),
        ([A, B, A, B, A], []),
        ([A, B, A, B, A, B], [5]),
        ([A, A, B, A], []),
        ([A, B, C] * 3, [8]),
    ],
)
def test_three_in_a_row_or_three_rounds_are_a_loop(calls: list[naive.Call], places: list[int]) -> None:
    assert list(naive.loops(calls)) == places


def test_a_cycle_of_five_is_too_long_for_the_naive_rule() -> None:
    assert list(naive.loops([(str(number), None) for number in range(5)] * 4)) == []


def test_the_simple_variants_see_what_they_say() -> None:
    calls = [A, B, A, A, ("read", "d"), ("write", "e")]
    assert list(naive.twice_in_a_row(calls)) == [3]
    assert list(naive.times_anywhere(calls, 2)) == [2, 3]
    assert list(naive.times_anywhere(calls, 3)) == [3]
    assert list(naive.same_tool_in_a_row(calls)) == [2, 3, 4]


def test_a_rate_is_judged_after_fifteen_buckets_and_from_three_on() -> None:
    steady = dict.fromkeys(range(15), 10.0)
    assert naive.rates(steady | {15: 10.0}, 0, 15) == []
    assert naive.rates(steady | {15: 11.0}, 0, 15) == [15]
    assert naive.rates(dict.fromkeys(range(14), 10.0) | {14: 99.0}, 0, 14) == []
    assert naive.rates({15: 2.0}, 0, 15) == []
    assert naive.rates({15: 3.0}, 0, 15) == [15]


def test_a_point_is_judged_after_288_and_not_after_equal_ones() -> None:
    varied = [float(number % 2) for number in range(288)]
    assert naive.points([*varied, 2.4]) == []
    assert naive.points([*varied, 2.6]) == [288]
    assert naive.points([1.0] * 288 + [99.0]) == []
    assert naive.points([*varied[:-1], 2.6]) == []
