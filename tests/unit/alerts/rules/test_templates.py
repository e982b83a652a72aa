"""Text is filled from the numbers, in the form a person reads, and nothing else can be reached."""

from typing import Any

import pytest

from alerts.rules import sample_incident
from alerts.rules.templates import check, render


@pytest.mark.parametrize(
    ("template", "incident", "expected"),
    [
        ("{agent_id} broke {scope}", {"agent_id": "a1", "scope": "a/b"}, "a1 broke a/b"),
        ("{attribution.probability}", {"attribution": {"probability": 0.934}}, "93%"),
        ("{exhaustion.unplanned_tokens}", {"exhaustion": {"unplanned_tokens": 10_200_000}}, "10.2 M"),
        ("{exhaustion.unplanned_tokens}", {"exhaustion": {"unplanned_tokens": 999_999}}, "999,999"),
        ("{exhaustion.calls_percent_of_expected}", {"exhaustion": {"calls_percent_of_expected": 516.6}}, "517"),
        ("{exhaustion.wall_time_seconds}", {"exhaustion": {"wall_time_seconds": 0.25}}, "0.25"),
        ("{exhaustion.calls}", {}, "unknown"),
        ("{agent_id}", {}, "unknown"),
        ("{provisional}", {"provisional": True}, "yes"),
        ("{started_at}", {"started_at": "2026-03-02T10:00:00Z"}, "2026-03-02T10:00:00Z"),
        ("{session_ids} sessions", {"session_ids": ["s1", "s2"]}, "2 sessions"),
        ("{{title}} is {title}", {"title": "{tenant}"}, "{title} is {tenant}"),
    ],
)
def test_a_template_is_filled(template: str, incident: dict[str, Any], expected: str) -> None:
    assert render(check(template), sample_incident(incident)) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{}",
        "{0}",
        "{title.upper}",
        "{title[0]}",
        "{__class__}",
        "{title:>99}",
        "{title!r}",
        "{",
        "}",
        "{title:{tenant}}",
    ],
)
def test_anything_but_a_field_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check(template)
