"""How long detect waits between two fetches: soon after panes end, rarely in between."""

import pytest

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.settings import Settings
from pipeline.stages.detect import Detect
from schemas.times import MICROS

RULES = TimeRules()
END = 1_772_366_400 * MICROS // RULES.pane * RULES.pane + RULES.lateness  # panes are complete from here on


@pytest.mark.parametrize(
    ("seconds_after", "expected"),
    [
        (0.0, 0.2),
        (0.9, 0.2),  # partitions with few events are still being closed
        (1.1, 1.0),
        (3.5, 1.0),
        (4.6, 0.45),  # a moment after the next end
    ],
)
def test_fetches_follow_each_other_when_panes_end_and_are_rare_in_between(
    seconds_after: float, expected: float
) -> None:
    now = END + int(seconds_after * MICROS)
    stage = Detect(Settings(), lambda error: None, limits=Limits(), rules=RULES, now=lambda: now)
    assert stage.fetch_gap_seconds() == pytest.approx(expected)


def test_a_recording_that_is_played_has_no_such_times() -> None:
    stage = Detect(Settings(recorded=True), lambda error: None, limits=Limits(), rules=RULES, now=lambda: END + MICROS)
    assert stage.fetch_gap_seconds() == pytest.approx(0.2)
