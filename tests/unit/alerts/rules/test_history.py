"""`times`: so many alike within a time, decided by the incidents alone."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.outbox import Outbox
from alerts.rules import Rule, sample_incident
from schemas.incidents import Incident
from schemas.times import parse_time

NOON = parse_time("2026-03-02T12:00:00Z")
MINUTE = 60_000_000
RULE = Rule.model_validate(
    {
        "id": "again",
        "title": "again",
        "when": {"kind": "feedback_loop"},
        "times": {"count": 3, "within": "10m"},
        "mode": "ticket",
        "runbook": "docs/x.md",
        "owner": "team",
    }
)


def incident(name: str, minute: float, **changes: Any) -> Incident:
    at = NOON + int(minute * MINUTE)
    fixed = {"incident_id": name, "fingerprint": "f", "kind": "feedback_loop", "started_at": at, "updated_at": at}
    return sample_incident(fixed | changes)


def told(*incidents: Incident) -> list[str]:
    outbox = Outbox([RULE])
    return [one.incident_id for found in incidents for one in outbox.decide(found) if one.transition == "firing"]


@pytest.mark.parametrize(
    ("third", "expected"),
    [
        pytest.param(incident("c", 9.9), ["c"], id="the third within the time"),
        pytest.param(incident("c", 10), [], id="the first is too old by then"),
        pytest.param(incident("c", 9, fingerprint="g"), [], id="another fingerprint"),
        pytest.param(incident("c", 9, tenant="other"), [], id="another tenant"),
        pytest.param(incident("c", 9, kind="telemetry_gap"), [], id="not what the rule is about"),
        pytest.param(incident("b", 1, revision=5), [], id="a later revision is no other incident"),
    ],
)
def test_what_counts(third: Incident, expected: list[str]) -> None:
    assert told(incident("a", 0), incident("b", 1), third) == expected


def test_what_was_withdrawn_does_not_count() -> None:
    withdrawn = incident("b", 1, revision=2, status="withdrawn")
    assert told(incident("a", 0), incident("b", 1), withdrawn, incident("c", 2)) == []


def test_after_a_restart_what_was_noted_counts() -> None:
    outbox = Outbox([RULE])
    for one in (incident("a", 0), incident("b", 1)):
        outbox.note(one)
    assert [one.incident_id for one in outbox.decide(incident("c", 2))] == ["c"]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("fg")), max_size=12))
def test_it_counts_as_one_would_by_hand(beginnings: list[tuple[int, str]]) -> None:
    found = [incident(f"i{n}", at, fingerprint=name) for n, (at, name) in enumerate(sorted(beginnings))]
    expected = [
        one.incident_id
        for number, one in enumerate(found)
        if sum(
            other.fingerprint == one.fingerprint and other.started_at > one.started_at - 10 * MINUTE
            for other in found[: number + 1]
        )
        >= 3
    ]
    assert told(*found) == expected
