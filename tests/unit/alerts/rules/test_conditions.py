"""Each way to write a condition, on both sides of its edge."""

from typing import Any

import pytest

from alerts.rules import Rule, sample_incident

GAP = {"class": "never_queried"}


def _matches(when: dict[str, Any], incident: dict[str, Any]) -> bool:
    rule = Rule.model_validate(
        {"id": "r", "title": "r", "when": when, "mode": "page", "runbook": "docs/r.md", "owner": "t"}
    )
    return rule.matches(sample_incident(incident))


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"kind": "feedback_loop"}, {"kind": "feedback_loop"}, {"kind": "telemetry_gap"}),
        ({"scope": ["a/b", "a/c"]}, {"scope": "a/c"}, {"scope": "a/d"}),
        ({"agent_id": None}, {"agent_id": None}, {"agent_id": "a1"}),
        ({"agent_id": ["a1", None]}, {"agent_id": None}, {"agent_id": "a2"}),
        ({"provisional": False}, {"provisional": False}, {"provisional": True}),
        ({"severity": {"at_least": "warning"}}, {"severity": "warning"}, {"severity": "info"}),
        ({"severity": {"at_least": "critical"}}, {"severity": "critical"}, {"severity": "warning"}),
        (
            {"attribution.probability": {"at_least": 0.8}},
            {"attribution": {"probability": 0.8}},
            {"attribution": {"probability": 0.79}},
        ),
        (
            {"attribution.verdict": ["agent", "shared"]},
            {"attribution": {"verdict": "shared"}},
            {"attribution": {"verdict": "change"}},
        ),
        (
            {"exhaustion.unplanned_tokens": {"at_least": 100}},
            {"exhaustion": {"unplanned_tokens": 100}},
            {"exhaustion": {"unplanned_tokens": 99}},
        ),
        ({"exhaustion.calls": {"at_least": 0}}, {"exhaustion": {"calls": 0}}, {"exhaustion": None}),
        (
            {"context_gaps": {"at_least": 2}},
            {"context_gaps": [GAP, GAP]},
            {"context_gaps": [GAP, {"class": "unknowable"}, {"class": "cannot_tell"}]},
        ),
        (
            {"kind": "feedback_loop", "tenant": "acme"},
            {"kind": "feedback_loop", "tenant": "acme"},
            {"kind": "feedback_loop", "tenant": "other"},
        ),
    ],
)
def test_a_condition_holds_on_one_side_and_not_on_the_other(
    when: dict[str, Any], yes: dict[str, Any], no: dict[str, Any]
) -> None:
    assert _matches(when, yes)
    assert not _matches(when, no)
