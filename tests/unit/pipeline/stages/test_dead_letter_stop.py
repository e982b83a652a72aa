"""The dead-letter stop: n - 1 is quiet, n stops."""

import pytest

from pipeline.stages.dead_letter_stop import AT_LEAST, IN_A_ROW, RejectedWatch, TooManyDeadLettersError
from schemas.times import MINUTE


def test_a_hundred_in_a_row_are_kept_and_one_more_stops() -> None:
    watch = RejectedWatch("agent.traces.v1/0")
    offsets = list(range(IN_A_ROW))
    watch.see(offsets, set(offsets), MINUTE)
    with pytest.raises(TooManyDeadLettersError, match=r"agent\.traces\.v1/0: more than 100 messages in a row"):
        watch.see([100], {100}, MINUTE)


def test_a_good_message_between_begins_the_row_anew() -> None:
    watch = RejectedWatch("agent.traces.v1/0")
    watch.see(list(range(IN_A_ROW)), set(range(IN_A_ROW)), MINUTE)
    watch.see([100], set(), MINUTE)
    watch.see(list(range(101, 4000)), set(range(200, 300)), 2 * MINUTE)
    assert watch.in_a_row == 0


def test_a_share_of_one_minute_above_five_percent_stops() -> None:
    rejected = {number * 19 for number in range(AT_LEAST + 1)}  # 101 of 1919: 5.26 %
    with pytest.raises(TooManyDeadLettersError, match="101 of 1919 messages of one minute"):
        RejectedWatch("agent.traces.v1/0").see(list(range(1919)), rejected, MINUTE)
    RejectedWatch("agent.traces.v1/0").see(list(range(2020)), rejected, MINUTE)  # 5 % exactly


def test_few_are_no_share_and_each_minute_begins_anew() -> None:
    watch = RejectedWatch("agent.traces.v1/0")
    for minute in range(5):
        first = minute * 1000
        watch.see(list(range(first, first + 200)), set(range(first, first + 100, 2)), minute * MINUTE)
    assert watch.rejected == 50
