"""Query rules: a row is an alert from its first answer to the first without it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.outbox import Outbox
from alerts.rules import SHIPPED, Rule, load_rules
from alerts.rules.queries import MOST_ROWS, Asked
from schemas.incidents import Incident

RULE = Rule.model_validate(
    {
        "id": "asked",
        "title": "Something is asked for",
        "query": {"sql": "SELECT 1", "every": "5m", "kind": "resource_exhaustion"},
        "mode": "ticket",
        "runbook": "docs/x.md",
        "owner": "team",
    }
)
OTHER = Rule.model_validate(
    {
        "id": "all",
        "title": "x",
        "when": {"severity": {"at_least": "info"}},
        "mode": "page",
        "runbook": "d",
        "owner": "t",
    }
)


def asked() -> Asked:
    assert RULE.query is not None
    return Asked(RULE, RULE.query)


def said(found: list[Incident]) -> list[tuple[str | None, str]]:
    return [(one.agent_id, one.status) for one in found]


def test_a_row_that_is_new_opens_and_one_that_is_gone_ends() -> None:
    question = asked()
    first, second = {"tenant": "acme", "agent_id": "a", "title": "a burns"}, {"tenant": "acme", "agent_id": "b"}
    (opened,) = question.answered([first], 1)
    assert (opened.title, opened.kind, opened.severity, opened.started_at) == (
        "a burns",
        "resource_exhaustion",
        "warning",
        1,
    )
    assert said(question.answered([first, second], 2)) == [("b", "open")]
    (over,) = question.answered([second], 3)
    assert (over.incident_id, over.status, over.resolved_at) == (opened.incident_id, "resolved", 3)
    (again,) = question.answered([first, second], 4)
    assert again.incident_id != opened.incident_id


def test_it_is_the_alert_of_its_own_rule_alone_and_known_after_a_restart() -> None:
    outbox = Outbox([OTHER, RULE])
    (incident,) = asked().answered([{"tenant": "acme", "agent_id": "a", "scope": "eu/a"}], 1)
    (notification,) = outbox.decide(incident)
    assert notification.rule == "asked"
    question = asked()
    question.restore(notification)
    assert question.answered([{"tenant": "acme", "agent_id": "a", "scope": "eu/a"}], 2) == []
    (over,) = question.answered([], 3)
    assert (over.incident_id, over.scope, over.status) == (incident.incident_id, "eu/a", "resolved")
    assert [one.transition for one in outbox.decide(over)] == ["firing", "resolved"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=8))
def test_what_is_open_is_what_was_answered_last(answers: list[set[str]]) -> None:
    question, is_open = asked(), set[str | None]()
    for now, names in enumerate(answers, start=1):
        for one in question.answered([{"tenant": "t", "key": name, "agent_id": name} for name in sorted(names)], now):
            (is_open.add if one.status == "open" else is_open.remove)(one.agent_id)
        assert is_open == names


def test_more_rows_than_a_person_reads_are_left_out() -> None:
    rows = [{"tenant": "t", "key": str(number)} for number in range(MOST_ROWS + 9)]
    assert len(asked().answered(rows, 1)) == MOST_ROWS


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "a row without a tenant"),
        ({"tenant": "t", "cost": 1}, "cost is no column"),
        ({"tenant": "t", "severity": "loud"}, "severity is one of"),
    ],
)
def test_a_row_that_is_not_usable_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        asked().answered([row], 1)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"sql": "DROP TABLE incidents"}, "one SELECT"),
        ({"sql": "SELECT 1; DROP TABLE incidents"}, "one SELECT"),
        ({"every": "1s"}, "greater than or equal"),
        ({"time_limit": "5m"}, "less than or equal"),
        ({"kind": "trouble"}, "feedback_loop"),
    ],
)
def test_a_question_that_is_none_is_refused(query: dict[str, str], says: str) -> None:
    values = RULE.model_dump(exclude={"for_", "keep_firing_for", "query", "when", "tests", "before", "action"})
    question = {"sql": "SELECT 1", "every": "5m", "kind": "resource_exhaustion"} | query
    with pytest.raises(ValueError, match=says):
        Rule.model_validate(values | {"query": question})


def test_a_rule_has_conditions_or_a_question() -> None:
    values = RULE.model_dump(exclude={"for_", "keep_firing_for", "query", "when", "tests", "before", "action"})
    with pytest.raises(ValueError, match="either `when`"):
        Rule.model_validate(values)
    assert any(rule.query is not None for rule in load_rules(SHIPPED))
