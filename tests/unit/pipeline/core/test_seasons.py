"""Hours of the week: drawn towards the day and the whole while history is short, moved by nothing odd."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.seasons import HOUR, HOURS_OF_A_WEEK, WEEKS, Season

AMOUNTS = st.lists(st.integers(1, 10**7), min_size=1, max_size=200)


def learned(amounts: list[int], first_hour: int = 0) -> Season:
    """One bucket an hour, and the hour after the last begun."""
    season = Season()
    for number, amount in enumerate([*amounts, 0]):
        season.add((first_hour + number) * HOUR, amount)
    return season


def weeks(number: int, amount: int, odd: int = 100, usual: int = 1_000) -> Season:
    """Weeks in which one hour differs."""
    return learned([amount if hour == odd else usual for _ in range(number) for hour in range(HOURS_OF_A_WEEK)])


def test_without_history_every_hour_is_alike() -> None:
    assert Season().factor(12 * HOUR) == 1.0
    assert learned([500]).factor(0) == pytest.approx(1.0)


@given(AMOUNTS, st.integers(0, HOURS_OF_A_WEEK - 1))
def test_a_factor_is_never_further_out_than_what_was_seen(amounts: list[int], hour: int) -> None:
    factor = learned(amounts).factor(hour * HOUR)
    widest = max(amounts) / min(amounts)
    assert 1 / widest * 0.999 <= factor <= widest * 1.001


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=12))
def test_within_an_hour_order_does_not_matter(amounts: list[int]) -> None:
    shuffled = sorted(amounts)
    one, other = Season(), Season()
    for season, order in ((one, amounts), (other, shuffled)):
        for amount in order:
            season.add(HOUR + 5, amount)
        season.add(2 * HOUR, 0)
    assert one.levels.keys() == other.levels.keys()
    assert one.levels[1] == pytest.approx(other.levels[1])


def test_an_hour_that_is_always_ten_times_as_busy_is_believed_more_with_every_week() -> None:
    factors = [weeks(number, 10_000).factor(100 * HOUR) for number in range(1, WEEKS + 3)]
    assert factors[:WEEKS] == sorted(factors[:WEEKS])
    assert factors[0] == pytest.approx(10**0.25, rel=0.2)
    assert 3 < factors[-1] < 10
    assert weeks(4, 10_000).factor(50 * HOUR) == pytest.approx(1.0)


def test_one_odd_week_among_others_moves_nothing() -> None:
    season = weeks(3, 1_000)
    for hour in range(3 * HOURS_OF_A_WEEK, 4 * HOURS_OF_A_WEEK + 1):
        season.add(hour * HOUR, 500_000 if hour % HOURS_OF_A_WEEK == 100 else 1_000)
    assert season.factor(100 * HOUR) == pytest.approx(1.0)


def test_a_new_hour_is_drawn_to_the_same_hour_of_other_days() -> None:
    days = learned([10_000 if hour % 24 == 9 else 1_000 for hour in range(5 * 24)])
    assert math.log10(days.factor((5 * 24 + 9) * HOUR)) == pytest.approx(5 / 8)


def test_no_more_than_a_few_weeks_are_kept() -> None:
    assert {len(levels) for levels in weeks(9, 5_000).levels.values()} == {WEEKS}
