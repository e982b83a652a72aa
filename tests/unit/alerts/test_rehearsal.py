"""What would be told: rules over time, with and without routes, by the outbox and router that run live."""

from typing import Any

import pytest

from alerts.rehearsal import rehearse
from alerts.routing.files import Routes
from alerts.routing.tree import Route
from alerts.rules import Rule, sample_incident
from schemas.incidents import Incident
from schemas.times import parse_time

NOON = parse_time("2026-03-02T12:00:00Z")
SECOND = 1_000_000


def a_rule(**changes: Any) -> Rule:
    fixed = {"id": "loop", "title": "x", "when": {"kind": "feedback_loop"}, "mode": "page"}
    return Rule.model_validate(fixed | {"runbook": "docs/x.md", "owner": "team"} | changes)


def revision(name: str, second: int, number: int = 0, **changes: Any) -> Incident:
    at = NOON + second * SECOND
    fixed = {"incident_id": name, "kind": "feedback_loop", "revision": number, "started_at": NOON, "updated_at": at}
    return sample_incident(fixed | changes)


def told(rule: Rule, *revisions: Incident, routes: Routes | None = None) -> list[tuple[int, str, str]]:
    heard = rehearse([rule], revisions, routes)
    return [((one.at - NOON) // SECOND, one.transition, one.incident_id) for one in heard]


def test_for_on_both_sides_of_its_edge() -> None:
    over = {"status": "resolved"}
    rule = a_rule(**{"for": "60s"})
    assert told(rule, revision("a", 0), revision("a", 59, 1, **over)) == []
    assert told(rule, revision("a", 0), revision("a", 61, 1, **over)) == [(60, "firing", "a"), (61, "resolved", "a")]
    assert told(rule, revision("a", 0)) == [(60, "firing", "a")]


def test_for_counts_from_the_first_revision_that_matches_and_begins_anew_when_it_ceases() -> None:
    rule = a_rule(when={"kind": "feedback_loop", "severity": {"at_least": "warning"}}, **{"for": "60s"})
    quiet, loud = {"severity": "info"}, {"severity": "warning"}
    revisions = [revision("a", 0, 0, **quiet), revision("a", 20, 1, **loud), revision("a", 50, 2, **loud)]
    assert told(rule, *revisions) == [(80, "firing", "a")]
    ceased = [*revisions, revision("a", 70, 3, **quiet), revision("a", 100, 4, **loud)]
    assert told(rule, *ceased) == [(160, "firing", "a")]


def test_the_end_is_told_later_where_the_rule_keeps_firing() -> None:
    rule = a_rule(keep_firing_for="30s")
    assert told(rule, revision("a", 0), revision("a", 10, 1, status="resolved")) == [
        (0, "firing", "a"),
        (40, "resolved", "a"),
    ]


def test_without_a_clock_and_without_routes_all_is_told_at_once() -> None:
    assert told(a_rule(), revision("a", 5, 0, status="resolved")) == [(5, "firing", "a"), (5, "resolved", "a")]


def test_with_routes_it_waits_for_its_group() -> None:
    routes = Routes(Route("0", "chat", group_by=("tenant",), group_wait=30 * SECOND))
    assert told(a_rule(), revision("a", 0), revision("b", 10), routes=routes) == [
        (30, "firing", "a"),
        (30, "firing", "b"),
    ]


def test_a_rule_holds_from_its_moment_on_and_the_one_before_until_then() -> None:
    old = {
        "id": "loop",
        "title": "x",
        "when": {"severity": "critical"},
        "mode": "page",
        "runbook": "d.md",
        "owner": "t",
    }
    rule = a_rule(effective_from=NOON + 10 * SECOND, before=old, mode="ticket")
    revisions = [revision("a", 9), revision("b", 9, severity="critical"), revision("c", 10)]
    heard = rehearse([rule], revisions)
    assert [(one.incident_id, one.mode) for one in heard] == [("b", "page"), ("c", "ticket")]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"effective_from": None}, "needs an effective_from"),
        ({"before": {"id": "other"}}, "has the same id, loop"),
        ({"effective_from": "yesterday"}, "RFC 3339"),
    ],
)
def test_versions_that_make_no_sense_are_refused(changes: dict[str, Any], says: str) -> None:
    old = {
        "id": "loop",
        "title": "x",
        "when": {"severity": "critical"},
        "mode": "page",
        "runbook": "d.md",
        "owner": "t",
    }
    given = {"effective_from": NOON, "before": old} | changes
    if "before" in changes:
        given["before"] = old | changes["before"]
    with pytest.raises(ValueError, match=says):
        a_rule(**given)
