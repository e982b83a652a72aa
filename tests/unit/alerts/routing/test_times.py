"""Time intervals on both sides of each edge."""

from typing import Any

import pytest
from pydantic import ValidationError

from alerts.routing.times import TimeInterval
from schemas.times import parse_time


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2026-03-02T09:00:00Z", "2026-03-02T17:00:00Z"),
        ({"times": [{"start_time": "22:00", "end_time": "24:00"}]}, "2026-03-02T23:59:59Z", "2026-03-03T00:00:00Z"),
        ({"weekdays": ["monday:friday"]}, "2026-03-06T12:00:00Z", "2026-03-07T12:00:00Z"),
        ({"weekdays": ["sunday"]}, "2026-03-08T12:00:00Z", "2026-03-09T12:00:00Z"),
        ({"days_of_month": ["1:5"]}, "2026-03-05T12:00:00Z", "2026-03-06T12:00:00Z"),
        ({"days_of_month": ["-3:-1"]}, "2026-02-26T12:00:00Z", "2026-02-25T12:00:00Z"),
        ({"days_of_month": ["-1"]}, "2024-02-29T12:00:00Z", "2024-02-28T12:00:00Z"),
        ({"days_of_month": ["31"]}, "2026-03-31T12:00:00Z", "2026-04-30T12:00:00Z"),
        ({"months": ["january:march"]}, "2026-03-31T23:00:00Z", "2026-04-01T00:00:00Z"),
        ({"months": ["12"]}, "2026-12-01T00:00:00Z", "2026-11-30T00:00:00Z"),
        ({"years": ["2026:2027"]}, "2027-12-31T00:00:00Z", "2028-01-01T00:00:00Z"),
        (
            {"times": [{"start_time": "09:00", "end_time": "10:00"}], "location": "Europe/Berlin"},
            "2026-07-01T07:30:00Z",
            "2026-07-01T08:00:00Z",
        ),
        ({"weekdays": ["monday"], "months": ["march"]}, "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z"),
    ],
)
def test_a_moment_is_inside_or_not(interval: dict[str, Any], inside: str, outside: str) -> None:
    found = TimeInterval.model_validate(interval)
    assert found.contains(parse_time(inside))
    assert not found.contains(parse_time(outside))


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        ({"times": [{"start_time": "9:00", "end_time": "17:00"}]}, "time of day"),
        ({"times": [{"start_time": 540, "end_time": "17:00"}]}, "in quotes"),
        ({"times": [{"start_time": "17:00", "end_time": "09:00"}]}, "over midnight is two"),
        ({"weekdays": ["someday"]}, "not between 0 and 6"),
        ({"weekdays": ["friday:monday"]}, "ends before it begins"),
        ({"days_of_month": ["0"]}, "no day 0"),
        ({"days_of_month": ["32"]}, "not between"),
        ({"months": "march"}, "write a list"),
        ({"location": "Atlantis"}, "no time zone"),
        ({"hours": []}, "Extra inputs"),
    ],
)
def test_what_is_no_interval_is_refused(interval: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TimeInterval.model_validate(interval)
