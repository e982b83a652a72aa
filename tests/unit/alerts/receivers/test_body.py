"""The body stays below its size and says what it leaves out."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.outbox import Notification, Outbox
from alerts.receivers.body import body_of
from alerts.rules import SHIPPED, load_rules, sample_incident
from schemas.incidents import Incident

RULES = load_rules(SHIPPED)


def _notification(incident: Incident) -> Notification:
    return Outbox(RULES).decide(incident)[0]


def _body(incident: Incident, max_bytes: int = 20_000) -> dict[str, Any]:
    raw = body_of(_notification(incident), incident, RULES[0], max_bytes)
    assert len(raw) <= max_bytes
    found: dict[str, Any] = json.loads(raw)
    return found


def test_a_small_incident_is_sent_whole() -> None:
    incident = sample_incident(
        {"kind": "agent_caused_failure", "updated_at": "2026-03-02T10:00:00Z", "context_gaps": [{"class": "dropped"}]}
    )
    found = _body(incident)
    assert found["type"] == "incident.firing"
    assert found["timestamp"] == "2026-03-02T10:00:00Z"
    assert found["data"]["incident"] == incident.model_dump(mode="json", by_alias=True)
    assert found["data"]["incident"]["context_gaps"][0]["class"] == "dropped"
    assert found["data"]["rule"] == {
        "title": "An agent broke something",
        "runbook": "alerts/rules/README.md#agent_caused_failure",
        "owner": "on-call",
    }
    assert found["data"]["truncated"] == []
    told = found["data"]["notification"]
    assert told["at"] == "2026-03-02T10:00:00Z"
    assert told["receiver"] == "console"
    assert not {"state", "detail"} & set(told)


def test_evidence_goes_first_and_the_body_says_so() -> None:
    evidence = [{"shows": "x" * 100, "event_id": str(number)} for number in range(500)]
    found = _body(sample_incident({"kind": "agent_caused_failure", "evidence": evidence, "session_ids": ["s"] * 9}))
    assert found["data"]["truncated"] == ["evidence"]
    assert [item["event_id"] for item in found["data"]["incident"]["evidence"]] == ["0", "1", "2", "3", "4"]
    assert len(found["data"]["incident"]["session_ids"]) == 9


def test_long_texts_are_cut_before_the_incident_is_reduced() -> None:
    found = _body(sample_incident({"kind": "agent_caused_failure", "summary": "x" * 50_000}))
    assert found["data"]["truncated"] == ["long texts"]
    assert len(found["data"]["incident"]["summary"]) == 1_000


def test_a_lone_surrogate_does_not_stop_a_page() -> None:
    assert _body(
        sample_incident({"kind": "agent_caused_failure", "summary": "a"}).model_copy(update={"summary": "a\ud800"})
    )


TEXT = st.sampled_from(["x", "\x00" * 500, "東" * 600, '"' * 2_000, "z" * 30_000])


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(0, 300), st.sampled_from([16_000, 20_000]))
def test_any_incident_fits(title: str, name: str, shows: str, count: int, max_bytes: int) -> None:
    incident = sample_incident(
        {
            "kind": "agent_caused_failure",
            "incident_id": name[:512],
            "tenant": name[:512],
            "scope": name,
            "agent_id": name,
            "title": title,
            "summary": shows,
            "evidence": [{"shows": shows}] * count,
            "governance_gaps": [{"gap": shows, "references": [name] * 50}] * min(count, 5),
            "attribution": {"ranked": [{"shows": shows, "factors": {name[:50]: 1.0}}] * min(count, 20)},
        }
    )
    notification = replace(_notification(incident), title=title, rule=name, receiver=name, dedup_key=name)
    raw = body_of(notification, incident, None, max_bytes)
    assert len(raw) <= max_bytes
    assert json.loads(raw)["data"]["incident"]["kind"] == "agent_caused_failure"
