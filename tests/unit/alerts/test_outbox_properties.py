"""Whatever comes in whatever order, with failures and restarts: sent once, and nothing owed is lost."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.outbox import Notification, Outbox, State
from alerts.rules import Rule, sample_incident
from schemas.incidents import Incident

KINDS = ("governance_breach", "agent_caused_failure", "telemetry_gap")
STATES: st.SearchStrategy[State] = st.sampled_from(("sent", "failed", "pending"))
Key = tuple[str, str, str, str]


def _rule(name: str, receivers: list[str], kinds: list[str], stop: bool) -> Rule:
    return Rule.model_validate(
        {
            "id": name,
            "title": name,
            "when": {"kind": kinds},
            "mode": "page",
            "receivers": receivers,
            "runbook": "docs/x.md",
            "owner": "team",
            "stop": stop,
        }
    )


RULES = st.lists(
    st.builds(
        _rule,
        st.sampled_from(("r1", "r2", "r3")),
        st.lists(st.sampled_from(("console", "hook")), min_size=1, unique=True),
        st.lists(st.sampled_from(KINDS), min_size=1, unique=True),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda rule: rule.id,
)


@st.composite
def _histories(draw: st.DrawFn) -> list[Incident]:
    """One to two incidents: revisions that are open and change kind, then perhaps an end."""
    found = []
    for name in ("i1", "i2")[: draw(st.integers(1, 2))]:
        kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
        last = draw(st.sampled_from(("open", "resolved", "withdrawn")))
        for revision, kind in enumerate(kinds, start=1):
            status = last if revision == len(kinds) else "open"
            found.append(sample_incident({"incident_id": name, "revision": revision, "kind": kind, "status": status}))
    return found


def _key(one: Notification) -> Key:
    return (one.rule, one.incident_id, one.receiver, one.transition)


@pytest.mark.fault("F48")
@settings(max_examples=300, deadline=None)
@given(RULES, _histories(), st.data())
def test_each_is_sent_once_and_what_is_owed_is_decided_again(
    rules: list[Rule], history: list[Incident], data: st.DataObject
) -> None:
    # every revision arrives, some again, in any order
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=6))
    arrivals = data.draw(st.permutations(history + repeats))
    outbox, kept, sent = Outbox(rules), list[dict[str, Any]](), list[Key]()
    for incident in arrivals:
        if data.draw(st.booleans(), label="restart"):
            outbox = Outbox(rules)
            for record in kept:
                outbox.restore(record)
        decided = outbox.decide(incident)
        assert outbox.decide(incident) == decided
        for one in decided:
            assert not any(_key(one) == key for key in sent)
            state = data.draw(STATES)
            outbox.record(replace(one, state=state))
            kept.append(replace(one, state=state).as_record())
            if state == "sent":
                sent.append(_key(one))
            else:
                # the very next answer has it again
                again = {_key(other) for other in outbox.decide(incident)}
                assert _key(one) in again
    assert len(set(sent)) == len(sent)


@settings(max_examples=200, deadline=None)
@given(RULES, _histories(), st.data())
def test_once_receivers_work_again_everything_is_told_and_closed(
    rules: list[Rule], history: list[Incident], data: st.DataObject
) -> None:
    outbox, sent = Outbox(rules), set[Key]()
    last = {incident.incident_id: incident for incident in history}
    for incident in history:
        for one in outbox.decide(incident):
            is_sent = data.draw(st.booleans())
            outbox.record(replace(one, state="sent" if is_sent else "failed"))
            if is_sent:
                sent.add(_key(one))
    for incident in last.values():
        for one in outbox.decide(incident):
            outbox.record(replace(one, state="sent"))
            sent.add(_key(one))
        assert outbox.decide(incident) == []
    for incident in last.values():
        told = {key for key in sent if key[1] == incident.incident_id}
        fired = {key[:3] for key in told if key[3] == "firing"}
        closed = {key[:3] for key in told if key[3] == "resolved"}
        if incident.status == "open":
            assert not closed
        if incident.status == "resolved":
            assert closed == fired
        if incident.status == "withdrawn":
            assert fired <= closed
        if incident.status != "withdrawn":
            for rule in rules:
                if rule.matches(incident) and not any(
                    before.stop and before.matches(incident) for before in rules[: rules.index(rule)]
                ):
                    assert {(rule.id, incident.incident_id, name) for name in rule.receivers} <= fired
